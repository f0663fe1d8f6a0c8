"""What watches the levers and proposes better settings; no lever imports it."""
