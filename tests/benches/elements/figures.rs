//! The figures that the runs produce, and what becomes of those of several rounds.

use std::collections::HashMap;

use crate::plan::Kind;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    Kind(Kind),
    /// What the machine does without a transport.
    Floor,
}

/// A row of the table; the crate's documentation defines each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    LatencyP50,
    LatencyP99,
    ProducerCpu,
    ClientCpu,
    ProducerFaults,
    ClientFaults,
    ProducerCalls,
    ClientCalls,
    Sent,
    Received,
    /// Of a futex wake after which clients read a frame while the next is written; stands below the table.
    LoadedP50,
    /// Likewise.
    LoadedP99,
}

impl Row {
    /// Those of the table, from top to bottom.
    pub const TABLE: [Row; 10] = [
        Row::LatencyP50,
        Row::LatencyP99,
        Row::ProducerCpu,
        Row::ClientCpu,
        Row::ProducerFaults,
        Row::ClientFaults,
        Row::ProducerCalls,
        Row::ClientCalls,
        Row::Sent,
        Row::Received,
    ];

    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Row::LatencyP50 => "latency p50, µs",
            Row::LatencyP99 => "latency p99, µs",
            Row::ProducerCpu => "CPU a frame, producer, µs",
            Row::ClientCpu => "CPU a frame, each client, µs",
            Row::ProducerFaults => "page faults a frame, producer",
            Row::ClientFaults => "page faults a frame, each client",
            Row::ProducerCalls => "system calls a frame, producer",
            Row::ClientCalls => "system calls a frame, each client",
            Row::Sent => "frames sent",
            Row::Received => "frames received",
            Row::LoadedP50 => "loaded p50, µs",
            Row::LoadedP99 => "loaded p99, µs",
        }
    }

    /// Digits after the point.
    pub fn decimals(self) -> usize {
        match self {
            Row::ProducerFaults | Row::ClientFaults | Row::ProducerCalls | Row::ClientCalls => 2,
            Row::LatencyP50 | Row::LatencyP99 | Row::LoadedP50 | Row::LoadedP99 => 1,
            Row::ProducerCpu | Row::ClientCpu | Row::Sent | Row::Received => 0,
        }
    }

    /// Counts are summed over the rounds, so that one lost frame shows; of all else the median is taken.
    fn is_count(self) -> bool {
        matches!(self, Row::Sent | Row::Received)
    }

    /// Whether the source alone, which has no clients, is the floor of this row for any number of them.
    fn is_of_producer(self) -> bool {
        matches!(
            self,
            Row::ProducerCpu | Row::ProducerFaults | Row::ProducerCalls
        )
    }
}

/// All figures of all rounds.
#[derive(Debug, Default)]
pub struct Figures(HashMap<(Column, usize, Row), Vec<f64>>);

impl Figures {
    /// Adds a round's figure.
    pub fn add(&mut self, column: Column, clients: usize, row: Row, value: f64) {
        self.0
            .entry((column, clients, row))
            .or_default()
            .push(value);
    }

    /// The figure of all rounds; `None` if it was not measured.
    pub fn get(&self, column: Column, clients: usize, row: Row) -> Option<f64> {
        let clients = if column == Column::Floor && row.is_of_producer() {
            0
        } else {
            clients
        };
        let rounds = self.0.get(&(column, clients, row))?;
        Some(if row.is_count() {
            rounds.iter().sum()
        } else {
            median(rounds)
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

/// Arithmetic mean.
pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
