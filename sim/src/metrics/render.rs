//! Values in the shapes in which providers send them.

use serde_json::{Value, json};
use tidegate_api::time::Time;
use tidegate_controller::question::Response;
use tidegate_controller::seams::{Question, Reply};

use super::series::Point;

/// What this provider sends when it means this value.
pub fn reply(provider: &str, question: &Question, point: &Point, now: Time) -> Reply {
    let document = match point {
        Point::Late(_, point) => return reply(provider, question, point, now),
        Point::Fails(why) => return Reply::Failed(why.as_str().into()),
        Point::Status(status, body) => return Reply::Answered(Response::new(*status, body)),
        Point::Value(value) => match provider {
            "prometheus" => prometheus(question, value, now),
            _ => value.clone(),
        },
    };
    Reply::Answered(Response::new(200, document.to_string()))
}

/// The numbers that are meant: a list is many, everything else is one.
fn many(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// A number as Prometheus writes it.
pub fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("NaN"),
        value if value.is_infinite() => json!(if value > 0.0 { "+Inf" } else { "-Inf" }),
        value => json!(value),
    }
}

/// A sample as Prometheus writes it: in quotes.
fn sample(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn prometheus(question: &Question, value: &Value, now: Time) -> Value {
    let at = now.0 as f64 / 1000.0;
    let data = if question.url.contains("/query_range") {
        let values: Vec<Value> = many(value).iter().map(|one| json!([at, sample(one)])).collect();
        json!({"resultType": "matrix", "result": [{"metric": {}, "values": values}]})
    } else {
        let one =
            |(n, one): (usize, &Value)| json!({"metric": {"n": n.to_string()}, "value": [at, sample(one)]});
        let result: Vec<Value> = many(value).iter().enumerate().map(one).collect();
        json!({"resultType": "vector", "result": result})
    };
    json!({"status": "success", "data": data})
}
