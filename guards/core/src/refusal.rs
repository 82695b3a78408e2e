//! What a refused client is told: the OpenAI error object, with the gate and a code that does not change.

use serde_json::{json, Map, Value};

/// A refusal, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u32,
    /// Which gate refuses; also the header `x-gate`.
    pub gate: &'static str,
    /// Stable, for programs.
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// The request's field that is to blame.
    pub param: Option<&'static str>,
    /// Further fields of the error object.
    pub details: Map<String, Value>,
}

impl Refusal {
    /// A refusal without a field to blame.
    pub fn new(status: u32, gate: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Refusal {
            status,
            gate,
            code,
            message: message.into(),
            param: None,
            details: Map::new(),
        }
    }

    /// Blames a field of the request.
    #[must_use]
    pub fn param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    /// Adds a field to the error object.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The body: `{"error": {...}}`.
    pub fn body(&self) -> Vec<u8> {
        let mut error = json!({
            "message": self.message,
            "type": kind(self.status),
            "code": self.code,
            "param": self.param,
            "gate": self.gate,
        });
        if let Value::Object(error) = &mut error {
            error.extend(self.details.clone());
        }
        json!({ "error": error }).to_string().into_bytes()
    }

    /// The request is for no route of ours.
    pub fn route_unknown(gate: &'static str) -> Self {
        let message = "This host and path are not served here. Use the base URL of your Project and one of \
                       /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, /v1/messages, /v1/models.";
        Refusal::new(404, gate, "route_unknown", message)
    }

    /// The guard has no config that it could obey.
    pub fn misconfigured(gate: &'static str) -> Self {
        let message =
            format!("The gate {gate} has no valid configuration, so nothing passes. Tell the operator.");
        Refusal::new(503, gate, "guard_misconfigured", message)
    }

    /// The body is not what every reader would read the same way.
    pub fn malformed(gate: &'static str, reason: &str) -> Self {
        let message = format!("The request body was refused: {reason}. Send one JSON object in UTF-8.");
        Refusal::new(400, gate, "body_malformed", message)
    }

    /// The body is longer than the Project allows.
    pub fn too_large(gate: &'static str, limit: usize) -> Self {
        let message =
            format!("The request body is larger than {limit} bytes, the limit of this Project. Send less.");
        Refusal::new(413, gate, "body_too_large", message).detail("limit", limit)
    }

    /// The body is compressed.
    pub fn encoded(gate: &'static str) -> Self {
        let message =
            "The request body is compressed, so it cannot be checked. Send it without content-encoding.";
        Refusal::new(415, gate, "body_encoded", message)
    }
}

/// OpenAI's `type` for a status.
fn kind(status: u32) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
