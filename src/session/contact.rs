//! Who the visitor is said to be: checked and brought into one form.

use email_address::EmailAddress;
use phonenumber::{Mode, country};
use serde_json::{Map, Value};

use crate::fault::{Code, Fault};
use crate::proxy::shown_name;
use crate::token::Contact;

/// Longer names are no names.
const LONGEST_NAME: usize = 200;
/// RFC 5321 §4.5.3.1.3, less the angle brackets.
const LONGEST_EMAIL: usize = 254;

/// Reads `{name, email, phone}`: each a string; null and "" mean absent.
///
/// The phone number comes out in E.164; a national number is read as one of the United States, as ChatBotKit does.
///
/// # Errors
///
/// What is wrong, and what would be right.
pub(super) fn read(value: Option<&Value>) -> Result<Contact, Fault> {
    let members = match value {
        None | Some(Value::Null) => return Ok(Contact::default()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(wrong("`contact` must be an object with name, email and phone")),
    };
    if let Some(other) = members.keys().find(|name| !matches!(name.as_str(), "name" | "email" | "phone")) {
        let shown = shown_name(other);
        return Err(wrong(format!("`contact.{shown}` is unknown; a contact has name, email and phone")));
    }
    Ok(Contact {
        name: text(members, "name")?.map(name).transpose()?,
        email: text(members, "email")?.map(email).transpose()?,
        phone: text(members, "phone")?.map(phone).transpose()?,
        email_verified: false,
    })
}

/// Reads whom a search or an end is about: an email address or, with its `+`, a phone number, in the form that it has in
/// sessions.
///
/// # Errors
///
/// It is neither, or none that there can be.
pub fn read_one(text: &str) -> Result<Contact, Fault> {
    let text = text.trim();
    if text.contains('@') {
        Ok(Contact { email: Some(email(text)?), ..Contact::default() })
    } else if text.starts_with('+') {
        Ok(Contact { phone: Some(phone(text)?), ..Contact::default() })
    } else {
        let detail = "`contact` must be an email address, or a phone number with its `+` (as %2B)";
        Err(Fault::new(Code::BadRequest, detail))
    }
}

fn text<'v>(members: &'v Map<String, Value>, name: &str) -> Result<Option<&'v str>, Fault> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(_) => Err(wrong(format!("`contact.{name}` must be a string"))),
    }
}

fn name(text: &str) -> Result<String, Fault> {
    if text.chars().count() > LONGEST_NAME || text.chars().any(char::is_control) {
        return Err(wrong(format!(
            "`contact.name` must be at most {LONGEST_NAME} characters, without control characters"
        )));
    }
    Ok(text.to_owned())
}

/// Whether `text` can be the email address of a contact.
pub fn is_email(text: &str) -> bool {
    text.len() <= LONGEST_EMAIL && EmailAddress::is_valid(text) && !text.contains(['<', '"', '['])
}

fn email(text: &str) -> Result<String, Fault> {
    if !is_email(text) {
        return Err(wrong("`contact.email` must be an email address such as jo@example.com"));
    }
    Ok(text.to_owned())
}

fn phone(text: &str) -> Result<String, Fault> {
    let number = phonenumber::parse(Some(country::US), text).ok().filter(phonenumber::is_valid);
    let number = number
        .ok_or_else(|| wrong("`contact.phone` must be a telephone number, best in E.164, such as +14155550123"))?;
    Ok(number.format().mode(Mode::E164).to_string())
}

fn wrong(detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Code::InvalidContact, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn contact(value: Value) -> Result<Contact, String> {
        read(Some(&value)).map_err(|fault| fault.detail().to_owned())
    }

    #[test]
    fn null_and_empty_mean_absent() {
        assert!(contact(json!({"name": null, "email": "", "phone": " "})).unwrap().is_empty());
        assert!(contact(Value::Null).unwrap().is_empty());
    }

    #[test]
    fn a_phone_number_is_brought_to_e164() {
        for (text, e164) in [
            ("(415) 555-2671", "+14155552671"),
            ("+44 20 7946 0958", "+442079460958"),
            ("+1 415 555 2671", "+14155552671"),
            ("+81 3-1234-5678", "+81312345678"),
        ] {
            assert_eq!(contact(json!({"phone": text})).unwrap().phone.as_deref(), Some(e164), "{text}");
        }
        for text in ["12", "not a number", "+999 1", "415-555-2671 ext evil\u{0}"] {
            assert!(contact(json!({"phone": text})).is_err(), "{text}");
        }
    }

    #[test]
    fn an_email_address_is_checked() {
        assert_eq!(contact(json!({"email": "jo@example.com"})).unwrap().email.as_deref(), Some("jo@example.com"));
        for text in [
            "jo",
            "jo@",
            "@example.com",
            "a b@example.com",
            "jo@example.com\r\nX: y",
            "Jo <jo@example.com>",
            "jo@exa mple.com",
        ] {
            assert!(contact(json!({"email": text})).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_type_is_told() {
        assert!(contact(json!("jo")).unwrap_err().contains("object"));
        assert!(contact(json!({"name": 7})).unwrap_err().contains("`contact.name` must be a string"));
        assert!(contact(json!({"gkc_customerId": "x"})).unwrap_err().contains("unknown"));
        assert!(contact(json!({"name": "a\u{7}"})).unwrap_err().contains("control"));
    }
}
