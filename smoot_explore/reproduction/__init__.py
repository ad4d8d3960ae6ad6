"""The paper's tables and figures as named targets: experiments, their measurements, and the reports."""
