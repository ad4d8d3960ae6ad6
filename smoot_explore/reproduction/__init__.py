"""The paper's tables and figures as named recipes: experiments, their measurements, and the reports."""
