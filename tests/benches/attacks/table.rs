//! The table.

use std::fmt;

use crate::attack::Attack;
use crate::figures::{Figures, Times};

/// Prints as a table in Markdown, with a row for each attack.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<[String; 7]>,
}

impl Table {
    /// Adds a row.
    pub fn add(&mut self, attack: &Attack, beside: Figures, attacked: Figures) {
        let times = |of: fn(&Figures) -> &Times| times(of(&beside), of(&attacked));
        self.rows.push([
            attack.title.into(),
            attack.beside.to_string(),
            format!("{:.0} → {:.0}", beside.rate(), attacked.rate()),
            format!("{} → {}", beside.missed, attacked.missed),
            times(|figures| &figures.latency),
            times(|figures| &figures.acquire),
            times(|figures| &figures.publish),
        ]);
    }

    /// Adds a row that says why there are no figures.
    pub fn leave_out(&mut self, attack: &Attack, obstacle: &str) {
        let mut row = [const { String::new() }; 7];
        row[0] = attack.title.into();
        row[1] = format!("not tried: {obstacle}");
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what a client does | beside | frames/s | missed | latency p50 / p99, µs | acquire p50 / p99, µs \
             | publish p50 / p99, µs |"
        )?;
        writeln!(f, "|{}", "---|".repeat(7))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// Formats the times of both conditions, and the ratio of their medians.
fn times(beside: &Times, attacked: &Times) -> String {
    let (beside, attacked) = (beside.percentiles(), attacked.percentiles());
    let ratio = match (beside, attacked) {
        (Some(beside), Some(attacked)) => {
            let [p50, p99] = [0, 1].map(|at| attacked[at] / beside[at]);
            format!(" ({p50:.2} / {p99:.2})")
        }
        _ => String::new(),
    };
    format!("{} → {}{ratio}", pair(beside), pair(attacked))
}

fn pair(percentiles: Option<[f64; 2]>) -> String {
    match percentiles {
        Some([p50, p99]) => format!("{} / {}", figure(p50), figure(p99)),
        None => "-".into(),
    }
}

/// Formats a time with three significant digits.
fn figure(us: f64) -> String {
    if us < 10.0 {
        format!("{us:.1}")
    } else {
        format!("{us:.0}")
    }
}
