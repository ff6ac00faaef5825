//! Shares of replicas: numbers that may also be text.

use serde_json::Value;

use crate::schema::integer;
use crate::spec::IntOrPercent;

/// `maxSurge` and `maxUnavailable`. Any text is a share, with or without percent signs.
pub(super) fn int_or_percent(value: &Value) -> IntOrPercent {
    match value {
        Value::Null => IntOrPercent::default(),
        Value::Number(number) => match integer(value).filter(|n| i32::try_from(*n).is_ok()) {
            Some(number) => IntOrPercent::Int(number),
            None => IntOrPercent::Broken(number.to_string().into()),
        },
        Value::String(text) => match text.replace('%', "").parse::<i32>() {
            Ok(share) => IntOrPercent::Percent(i64::from(share)),
            Err(_) => IntOrPercent::Broken(text.as_str().into()),
        },
        other => IntOrPercent::Broken(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn any_text_is_a_share() {
        assert_eq!(int_or_percent(&json!(3)), IntOrPercent::Int(3));
        assert_eq!(int_or_percent(&json!(3.0)), IntOrPercent::Int(3));
        assert_eq!(int_or_percent(&json!(1.5)), IntOrPercent::Broken("1.5".into()));
        for text in ["", " 5%", "1.5%"] {
            assert_eq!(int_or_percent(&json!(text)), IntOrPercent::Broken(text.into()));
        }
        assert_eq!(int_or_percent(&json!("25")), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!("25%")), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!("%2%5%")), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!("oops")), IntOrPercent::Broken("oops".into()));
        assert_eq!(int_or_percent(&Value::Null), IntOrPercent::Percent(25));
        assert_eq!(int_or_percent(&json!(3_000_000_000_i64)), IntOrPercent::Broken("3000000000".into()));
    }
}
