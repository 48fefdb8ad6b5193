"""Generic agents over a model of your own, and the evaluators' public names; one package a framework."""
