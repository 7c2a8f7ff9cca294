//! Label and field selectors.
//!
//! Fields are named as in the object, and those that people select by also by their last word: `state=active`
//! is `status.state=active`.

use super::status::Failure;

/// A selector: all of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    values: Vec<String>,
    test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    In,
    NotIn,
    Exists,
    NotExists,
}

impl Selector {
    /// A field selector. `field` gives the full name of each field that objects have.
    ///
    /// # Errors
    /// If it is malformed, or names a field that no object has.
    pub fn fields(
        text: Option<&str>,
        field: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Selector, Failure> {
        let mut requirements = Vec::new();
        for part in text.unwrap_or_default().split(',') {
            if part.trim().is_empty() {
                continue;
            }
            let mut requirement = equality(part).ok_or_else(|| {
                Failure::bad_request(format!(
                    "fieldSelector: {part:?} is not FIELD=VALUE or FIELD!=VALUE"
                ))
            })?;
            let known = field(&requirement.key).ok_or_else(|| {
                Failure::bad_request(format!("field label not supported: {}", requirement.key))
            })?;
            known.clone_into(&mut requirement.key);
            requirements.push(requirement);
        }
        Ok(Selector(requirements))
    }

    /// A label selector.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn labels(text: Option<&str>) -> Result<Selector, Failure> {
        let mut requirements = Vec::new();
        for part in split(text.unwrap_or_default()) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let requirement = equality(part)
                .or_else(|| set(part))
                .or_else(|| existence(part))
                .ok_or_else(|| {
                    Failure::bad_request(format!("labelSelector: cannot read {part:?}"))
                })?;
            requirements.push(requirement);
        }
        Ok(Selector(requirements))
    }

    /// Whether it selects an object with these values.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = value(&requirement.key);
            let is_one = || {
                let mut values = requirement.values.iter();
                value.is_some_and(|value| values.any(|wanted| wanted == value))
            };
            match requirement.test {
                Test::In => is_one(),
                Test::NotIn => !is_one(),
                Test::Exists => value.is_some(),
                Test::NotExists => value.is_none(),
            }
        })
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

fn equality(part: &str) -> Option<Requirement> {
    let (key, value, test) = match part.split_once("!=") {
        Some((key, value)) => (key, value, Test::NotIn),
        None => {
            let (key, value) = part.split_once('=')?;
            (key, value.strip_prefix('=').unwrap_or(value), Test::In)
        }
    };
    let key = key.trim();
    (!key.is_empty() && !key.contains([' ', '('])).then(|| Requirement {
        key: key.to_owned(),
        values: vec![value.trim().to_owned()],
        test,
    })
}

fn set(part: &str) -> Option<Requirement> {
    let (head, values) = part.strip_suffix(')')?.split_once('(')?;
    let mut words = head.split_whitespace();
    let (key, test) = match (words.next()?, words.next()?, words.next()) {
        (key, "in", None) => (key, Test::In),
        (key, "notin", None) => (key, Test::NotIn),
        _ => return None,
    };
    Some(Requirement {
        key: key.to_owned(),
        values: values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect(),
        test,
    })
}

fn existence(part: &str) -> Option<Requirement> {
    let (key, test) = match part.strip_prefix('!') {
        Some(key) => (key.trim(), Test::NotExists),
        None => (part, Test::Exists),
    };
    (!key.is_empty() && !key.contains([' ', '(', ')'])).then(|| Requirement {
        key: key.to_owned(),
        values: Vec::new(),
        test,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &str) -> Option<&'static str> {
        match key {
            "tracer.internal/severity" => Some("error"),
            "status.state" => Some("active"),
            _ => None,
        }
    }

    #[test]
    fn labels_are_selected_as_kubectl_writes_them() {
        for (text, expected) in [
            ("", true),
            ("tracer.internal/severity=error", true),
            ("tracer.internal/severity==error", true),
            ("tracer.internal/severity!=error", false),
            ("tracer.internal/severity in (warning, error)", true),
            ("tracer.internal/severity in (warning),other", false),
            ("tracer.internal/severity notin (error,info)", false),
            ("other notin (a)", true),
            ("other!=a", true),
            ("tracer.internal/severity", true),
            ("!tracer.internal/severity", false),
            ("!other,tracer.internal/severity=error", true),
        ] {
            let selector = Selector::labels(Some(text)).expect("understood");
            assert_eq!(selector.matches(value), expected, "{text}");
        }
        for text in ["a b", "a in b", "x in (a", "(a)"] {
            assert!(Selector::labels(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_are_known_ones() {
        let field = |name: &str| matches!(name, "state" | "status.state").then_some("status.state");
        for (text, expected) in [
            ("state=active", Some(true)),
            ("status.state!=active", Some(false)),
            ("state=active,state!=resolved", Some(true)),
            ("colour=red", None),
            ("state", None),
        ] {
            let selector = Selector::fields(Some(text), field).ok();
            let matches = selector.map(|selector| selector.matches(value));
            assert_eq!(matches, expected, "{text}");
        }
    }
}
