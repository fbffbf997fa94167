//! The metrics that are exported: histograms of the requests to models, and the state of the team. Pure. The histograms
//! count from the start of the service.

use std::collections::BTreeMap;

use agent_team_protocol::view::{MemberView, TeamView};
use serde_json::{Value, json};

use super::otlp::{Attributes, nanoseconds};
use super::steps::TurnSteps;
use super::trace::add_model;

/// The bounds of the buckets that the GenAI conventions recommend.
const TOKEN_BOUNDS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const SECOND_BOUNDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// Aggregation over the whole life of the service.
const CUMULATIVE: u64 = 2;

#[derive(Debug)]
pub(super) struct Measures {
    start: u64,
    /// The numbers of tokens, by model and by type.
    tokens: BTreeMap<(String, &'static str), Histogram>,
    /// The durations, by model.
    durations: BTreeMap<String, Histogram>,
}

#[derive(Debug)]
struct Histogram {
    bounds: &'static [f64],
    buckets: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: vec![0; bounds.len() + 1],
            sum: 0.0,
            count: 0,
        }
    }

    fn add(&mut self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        self.buckets[bucket.unwrap_or(self.bounds.len())] += 1;
        self.sum += value;
        self.count += 1;
    }
}

impl Measures {
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            tokens: BTreeMap::new(),
            durations: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, steps: &TurnSteps, model: Option<&str>) {
        let model = model.unwrap_or_default();
        for request in &steps.requests {
            let tokens = [
                ("input", request.usage.input),
                ("output", request.usage.output),
            ];
            for (kind, count) in tokens.into_iter().filter(|(_, count)| *count > 0) {
                let histogram = self.tokens.entry((model.to_owned(), kind));
                histogram
                    .or_insert_with(|| Histogram::new(&TOKEN_BOUNDS))
                    .add(count as f64);
            }
            let took = (request.to - request.from) as f64 / 1e3;
            let histogram = self.durations.entry(model.to_owned());
            histogram
                .or_insert_with(|| Histogram::new(&SECOND_BOUNDS))
                .add(took);
        }
    }

    /// All metrics at this time.
    pub(super) fn document(&self, team: &TeamView, now: u64) -> Vec<Value> {
        let mut metrics = Vec::new();
        let tokens = self.tokens.iter().map(|((model, kind), histogram)| {
            let mut attributes = chat(model);
            attributes.add("gen_ai.token.type", *kind);
            self.point(histogram, &attributes, now)
        });
        push(
            &mut metrics,
            "gen_ai.client.token.usage",
            "{token}",
            "histogram",
            tokens,
        );
        let durations = self.durations.iter();
        let durations =
            durations.map(|(model, histogram)| self.point(histogram, &chat(model), now));
        push(
            &mut metrics,
            "gen_ai.client.operation.duration",
            "s",
            "histogram",
            durations,
        );

        let gauge = |key: &str, value: &str, count: u64| {
            let mut attributes = Attributes::default();
            attributes.add(key, value);
            json!({"timeUnixNano": nanoseconds(now), "asInt": count.to_string(), "attributes": attributes.json()})
        };
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for member in &team.members {
            let state = serde_json::to_value(member.state).unwrap_or_default();
            *states
                .entry(state.as_str().unwrap_or("unknown").to_owned())
                .or_default() += 1;
        }
        let members = states
            .iter()
            .map(|(state, count)| gauge("agent_team.member.state", state, *count));
        push(
            &mut metrics,
            "agent_team.members",
            "{member}",
            "gauge",
            members,
        );
        let tasks = &team.tasks;
        let tasks = [
            ("pending", tasks.pending),
            ("in_progress", tasks.in_progress),
            ("completed", tasks.completed),
            ("failed", tasks.failed),
            ("cancelled", tasks.cancelled),
        ];
        let tasks = tasks.map(|(state, count)| gauge("agent_team.task.state", state, count));
        push(&mut metrics, "agent_team.tasks", "{task}", "gauge", tasks);
        let waiting: u64 = team
            .members
            .iter()
            .map(|member| u64::from(member.requests))
            .sum();
        let waiting = json!({"timeUnixNano": nanoseconds(now), "asInt": waiting.to_string()});
        push(
            &mut metrics,
            "agent_team.requests.waiting",
            "{request}",
            "gauge",
            [waiting],
        );
        let cost = |member: &MemberView| {
            let mut attributes = Attributes::default();
            attributes.add("gen_ai.agent.name", member.name.as_str());
            json!({"timeUnixNano": nanoseconds(now), "asDouble": member.usage.micro_usd as f64 / 1e6,
                "attributes": attributes.json()})
        };
        let costs = team
            .members
            .iter()
            .filter(|member| member.usage.tokens() > 0)
            .map(cost);
        push(&mut metrics, "agent_team.cost", "{usd}", "gauge", costs);
        metrics
    }

    fn point(&self, histogram: &Histogram, attributes: &Attributes, now: u64) -> Value {
        let buckets: Vec<_> = histogram.buckets.iter().map(u64::to_string).collect();
        json!({
            "startTimeUnixNano": nanoseconds(self.start), "timeUnixNano": nanoseconds(now),
            "count": histogram.count.to_string(), "sum": histogram.sum, "bucketCounts": buckets,
            "explicitBounds": histogram.bounds, "attributes": attributes.json(),
        })
    }
}

fn chat(model: &str) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.add("gen_ai.operation.name", "chat");
    add_model(&mut attributes, Some(model));
    attributes
}

/// Adds a metric with these points; adds nothing if there are no points.
fn push(
    metrics: &mut Vec<Value>,
    name: &str,
    unit: &str,
    kind: &str,
    points: impl IntoIterator<Item = Value>,
) {
    let points: Vec<_> = points.into_iter().collect();
    if points.is_empty() {
        return;
    }
    let mut data = json!({"dataPoints": points});
    if kind == "histogram" {
        data["aggregationTemporality"] = CUMULATIVE.into();
    }
    metrics.push(json!({"name": name, "unit": unit, kind: data}));
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::value::Usage;

    use super::*;
    use crate::telemetry::steps::ModelRequest;

    #[test]
    fn histograms_count_each_request() {
        let mut measures = Measures::new(0);
        let usage = Usage {
            input: 100,
            output: 4,
            ..Usage::default()
        };
        let request = ModelRequest {
            item: 1,
            from: 0,
            to: 50,
            usage,
            stop: String::new(),
        };
        let steps = TurnSteps {
            requests: vec![request],
            calls: Vec::new(),
        };
        measures.add(&steps, Some("openai/x"));
        measures.add(&steps, Some("openai/x"));
        let output = &measures.tokens[&("openai/x".to_owned(), "output")];
        assert_eq!((output.count, output.sum), (2, 8.0));
        assert_eq!(output.buckets[1], 2);
        assert_eq!(measures.durations["openai/x"].buckets[3], 2);
    }
}
