//! By what the spans of a trace are told apart from all others.

/// The target of every span. An exporter selects the spans by it.
pub const TARGET: &str = "fibwire::trace";
