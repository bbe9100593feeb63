//! The model-based test.
