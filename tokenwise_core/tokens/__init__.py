"""Counting tokens before a call: tokenisers, how providers render a prompt, calibration from reported usage."""

from tokenwise_core.tokens.analysis import Projection, TokenizationAnalysis, analyze_tokenization, project
from tokenwise_core.tokens.bpe_files import EncodingInfo, describe_encodings
from tokenwise_core.tokens.calibration import Calibration
from tokenwise_core.tokens.counter import TokenCounter
from tokenwise_core.tokens.counts import AnswerCount, Basis, Count, MessageCount, PromptCount
from tokenwise_core.tokens.requests import detect_api, read_request

__all__ = [
    "AnswerCount",
    "Basis",
    "Calibration",
    "Count",
    "EncodingInfo",
    "MessageCount",
    "Projection",
    "PromptCount",
    "TokenCounter",
    "TokenizationAnalysis",
    "analyze_tokenization",
    "describe_encodings",
    "detect_api",
    "project",
    "read_request",
]
