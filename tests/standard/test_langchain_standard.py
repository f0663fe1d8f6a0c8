"""LangChain's own suites over our chat model and embeddings; the suite's questions are recorded turns."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.messages.base import BaseMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from tokenwise_core.demo.workload import RecordedCall, Turn
from tokenwise_core.testing import HashEmbedder, Replay
from tokenwise_langchain import CoreEmbeddings, ReplayChatModel

QUESTION = "What is the square root of nine?"
JOKE = '{"setup": "Why do cats sit on keyboards?", "punchline": "To be near the mouse."}'
CHINESE = "Create a customer named '你好啊集团' (Hello Group) - a Chinese technology company"
JAPANESE = "Create a customer named 'こんにちは株式会社' (Hello Corporation) - a Japanese company"


def recorded(question: str, answer: str = "Done.", *calls: tuple[str, dict[str, Any]]) -> Turn:
    steps = tuple((RecordedCall(name=name, arguments=arguments),) for name, arguments in calls)
    return Turn(
        id=question, user=question, kind="statement", right=answer, wrong="No.", dont_know="I don't know.", steps=steps
    )


TURNS = [
    recorded("Hello", "Hello, how can I help you today?"),
    recorded(QUESTION, "Three."),
    recorded("Write me 2 haikus. Only include the haikus.", "An old silent pond. A frog jumps in. Splash."),
    recorded("What is the value of magic_function(3)? Use the tool.", "5", ("magic_function", {"input": 3})),
    recorded("What is the value of magic_function_no_args()? Use the tool.", "5", ("magic_function_no_args", {})),
    recorded("Using the tool, generate a Pirate greeting.", "Ahoy", ("greeting_generator", {"answer_style": "Pirate"})),
    recorded("Hello!", "Hi.", ("magic_function", {"input": 1})),
    recorded("Tell me a joke about cats.", JOKE),
    recorded("Give me the setup to a joke about cats, no punchline.", JOKE),
    recorded("Give me a joke about cats, include the punchline.", JOKE),
    recorded("What is the weather in San Francisco, CA?", "Sunny.", ("get_weather", {"location": "San Francisco, CA"})),
    recorded(CHINESE, "Done.", ("unicode_customer", {"customer_name": "你好啊集团", "description": "技术"})),
    recorded(JAPANESE, "Done.", ("unicode_customer", {"customer_name": "こんにちは株式会社", "description": "会社"})),
]


class Replayed:
    """What both suites are told of the model."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ReplayChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"replay": Replay(TURNS, tier="strong")}

    @property
    def supports_model_override(self) -> bool:
        return False  # a recording has one tier

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {}


class TestReplayChatModelUnit(Replayed, ChatModelUnitTests):
    pass


Details = Literal["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]


class TestReplayChatModel(Replayed, ChatModelIntegrationTests):
    """Without its tests of images, sounds and PDFs: they fetch them from the network."""

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Details]]:
        kinds: list[Details] = ["reasoning_output", "cache_read_input", "cache_creation_input"]
        return {"invoke": kinds, "stream": kinds}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._asked("openai", rounds=1, stream=stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._asked("openai", rounds=2, stream=stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._asked("anthropic", rounds=1, stream=stream)

    def _asked(self, provider_format: Literal["openai", "anthropic"], *, rounds: int, stream: bool) -> AIMessage:
        model = ReplayChatModel(replay=Replay(TURNS, tier="strong", provider_format=provider_format))
        messages: list[BaseMessage] = [SystemMessage("Be brief and exact. " * 500)]
        for _ in range(rounds):
            answer: Any = None
            if stream:
                for chunk in model.stream([*messages, ("human", QUESTION)]):
                    answer = chunk if answer is None else answer + chunk
            else:
                answer = model.invoke([*messages, ("human", QUESTION)])
        assert isinstance(answer, AIMessage)
        return answer


class TestCoreEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[CoreEmbeddings]:
        return CoreEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": HashEmbedder()}


class TestCoreEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[CoreEmbeddings]:
        return CoreEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": HashEmbedder()}
