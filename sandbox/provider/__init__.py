"""Stand-in for LLM providers: an OpenAI-compatible server without a model, that keeps what it was sent."""
