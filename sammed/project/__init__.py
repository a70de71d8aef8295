"""A project: a folder of cases with the same structures to be drawn, and what became of each."""
