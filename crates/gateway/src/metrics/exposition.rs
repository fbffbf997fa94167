//! The text format of Prometheus, version 0.0.4. Pure.

use std::fmt::Write as _;

/// A metric whose value can fall: its name and its help text.
pub(super) struct Gauge(pub(super) &'static str, pub(super) &'static str);

/// A metric whose value only grows. Its name ends with `_total`.
pub(super) struct Counter(pub(super) &'static str, pub(super) &'static str);

/// A document under construction.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    pub(super) fn gauge<'a>(
        &mut self,
        Gauge(name, help): &Gauge,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    pub(super) fn counter<'a>(
        &mut self,
        Counter(name, help): &Counter,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, "counter", help, samples);
    }

    /// Writes all samples of one name; writes nothing if there are no samples.
    fn family<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _infallible = write!(self.text, "{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _infallible = writeln!(self.text, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_escaped_labels() {
        let mut text = Exposition::default();
        let labels = [("team", "a\"b\\c\nd"), ("state", "up")];
        text.gauge(&Gauge("x", "Help."), [(&labels[..], 2.5)]);
        text.counter(&Counter("y_total", "More."), [(&[][..], 10_000_000.0)]);
        text.counter(&Counter("z_total", "None."), []);
        let expected = "# HELP x Help.\n# TYPE x gauge\nx{team=\"a\\\"b\\\\c\\nd\",state=\"up\"} 2.5\n\
            # HELP y_total More.\n# TYPE y_total counter\ny_total 10000000\n";
        assert_eq!(text.finish(), expected);
    }
}
