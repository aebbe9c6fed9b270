//! Where in a request a client writes something: its credential, the bot, a wish.

use http::HeaderName;

use super::options::Names;
use super::template::Template;

/// A header, a query parameter, or a member of the JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header.
    Header(HeaderName),
    /// A query parameter.
    Query(String),
    /// A member of the JSON body, in whatever case it is written.
    Body(String),
}

impl Place {
    /// Reads `header NAME`, `query NAME` or `body NAME`.
    ///
    /// # Errors
    ///
    /// What would be right.
    pub(super) fn parse(text: &str, names: &Names<'_>) -> Result<Self, String> {
        let wrong = || format!("`{text}` must be \"header NAME\", \"query NAME\" or \"body NAME\"");
        let (kind, name) = text.split_once(' ').ok_or_else(wrong)?;
        let name = Template::parse(name, names)?.as_fixed().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
        match kind {
            "header" => name.parse().map(Self::Header).map_err(|_not_a_name| wrong()),
            "query" => Ok(Self::Query(name)),
            "body" => Ok(Self::Body(name)),
            _ => Err(wrong()),
        }
    }

    /// The header, if it is one.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header(name) => Some(name),
            Self::Query(_) | Self::Body(_) => None,
        }
    }

    /// The member of the body, if it is one.
    pub fn body(&self) -> Option<&str> {
        match self {
            Self::Body(name) => Some(name),
            Self::Header(_) | Self::Query(_) => None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Header(name) => name.as_str(),
            Self::Query(name) | Self::Body(name) => name,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Header(_) => "header",
            Self::Query(_) => "query",
            Self::Body(_) => "body",
        };
        write!(formatter, "{kind} {}", self.name())
    }
}
