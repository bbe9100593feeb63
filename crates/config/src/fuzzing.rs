//! The parsers of this module, as `fuzz/` calls them.

use super::{keys, layer, Config, Places, Text};
use std::path::Path;

/// A configuration file.
pub fn layer_of(text: &str) {
    let (mut config, mut places, mut problems) = (Config::default(), Places::new(), Vec::new());
    let text = Text { path: Path::new("fuzzing"), text };
    layer(&text, &mut config, &mut places, &mut problems);
    for problem in problems.iter().chain(keys::contradiction(&config, &places).as_ref()) {
        assert!(!problem.to_string().is_empty());
    }
}
