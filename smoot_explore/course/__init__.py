"""What the course needs: predictions, exercises that check themselves, and a score to hand in."""

from smoot_explore.course.prediction import Prediction, ask
from smoot_explore.course.score import reset
from smoot_explore.course.scorecard import Scorecard, report

__all__ = ["Prediction", "Scorecard", "ask", "report", "reset"]
