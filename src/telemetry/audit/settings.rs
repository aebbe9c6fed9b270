//! The `[audit]` section of the configuration.

use std::path::PathBuf;

use crate::document::{Environment, Table};

/// The file, unless the configuration says otherwise.
const DEFAULT: &str = "keystile-audit.jsonl";

/// Where the audit record is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file; nothing where there is no record.
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Reads the section; what is wrong is noted.
    pub fn read(table: &Table<'_>, environment: &Environment) -> Self {
        let file = table.get("file");
        let text = file.as_ref().and_then(|value| value.text());
        if let (Some(value), Some("")) = (&file, text) {
            value.problem(format!("must name a file, such as \"{DEFAULT}\", or be \"off\""));
        }
        match text {
            Some("off") => Self { file: None },
            text => Self { file: Some(environment.path(text.unwrap_or(DEFAULT))) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::document::{Document, Problems};

    fn read(text: &str) -> (Option<PathBuf>, Vec<String>) {
        let environment = Environment::given("/etc/keystile", []);
        let problems = Problems::default();
        let document = Document::parse("test.toml", text, &problems).expect("TOML");
        let settings = Settings::read(&document.root(&problems), &environment);
        (settings.file, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn there_is_a_record_unless_off_is_written_out() {
        for (text, file) in [
            ("", Some("/etc/keystile/keystile-audit.jsonl")),
            ("file = \"/var/log/keystile/audit.jsonl\"", Some("/var/log/keystile/audit.jsonl")),
            ("file = \"off\"", None),
        ] {
            assert_eq!(read(text), (file.map(|file| Path::new(file).to_owned()), Vec::new()), "{text}");
        }
        for wrong in ["file = \"\"", "file = false", "path = \"x\""] {
            assert_eq!(read(wrong).1.len(), 1, "{wrong}");
        }
    }
}
