//! The request shapes that are metered.

/// Which API a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI completions.
    Completions,
    /// OpenAI embeddings.
    Embeddings,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// The list of models.
    Models,
    /// Something else.
    Other,
}

impl Shape {
    /// The shape of a request's path, query included.
    pub fn of(path: &str) -> Self {
        match path.split(['?', '#']).next().unwrap_or_default() {
            "/v1/chat/completions" => Shape::Chat,
            "/v1/completions" => Shape::Completions,
            "/v1/embeddings" => Shape::Embeddings,
            "/v1/responses" => Shape::Responses,
            "/v1/messages" => Shape::Messages,
            "/v1/models" => Shape::Models,
            _ => Shape::Other,
        }
    }

    /// Whether its requests are a POST with a body.
    pub fn has_body(self) -> bool {
        !matches!(self, Shape::Models | Shape::Other)
    }

    /// Whether a stream of it carries usage only when `stream_options.include_usage` asks for it.
    pub fn usage_on_request(self) -> bool {
        matches!(self, Shape::Chat | Shape::Completions)
    }
}
