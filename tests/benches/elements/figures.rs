//! The figures of the runs, and how several rounds are combined.

use std::collections::HashMap;

use crate::plan::Kind;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    Kind(Kind),
    /// The machine without a transport.
    Floor,
}

/// A row of the table. The documentation of the crate defines each.
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
    /// Latency of a futex wake after which clients read a frame while the next one is written.
    /// Printed below the table.
    LoadedP50,
    /// The same for p99.
    LoadedP99,
}

impl Row {
    /// The rows of the table, from top to bottom.
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

    /// The label of the row.
    pub fn label(self) -> &'static str {
        match self {
            Row::LatencyP50 => "latency p50, µs",
            Row::LatencyP99 => "latency p99, µs",
            Row::ProducerCpu => "CPU per frame, producer, µs",
            Row::ClientCpu => "CPU per frame, each client, µs",
            Row::ProducerFaults => "page faults per frame, producer",
            Row::ClientFaults => "page faults per frame, each client",
            Row::ProducerCalls => "system calls per frame, producer",
            Row::ClientCalls => "system calls per frame, each client",
            Row::Sent => "frames sent",
            Row::Received => "frames received",
            Row::LoadedP50 => "loaded p50, µs",
            Row::LoadedP99 => "loaded p99, µs",
        }
    }

    /// The number of decimals.
    pub fn decimals(self) -> usize {
        match self {
            Row::ProducerFaults | Row::ClientFaults | Row::ProducerCalls | Row::ClientCalls => 2,
            Row::LatencyP50 | Row::LatencyP99 | Row::LoadedP50 | Row::LoadedP99 => 1,
            Row::ProducerCpu | Row::ClientCpu | Row::Sent | Row::Received => 0,
        }
    }

    /// Whether the figure is a count. Counts are summed over the rounds, so one lost frame shows.
    /// Of all other figures the median is taken.
    fn is_count(self) -> bool {
        matches!(self, Row::Sent | Row::Received)
    }

    /// Whether the floor of this row is the source alone. The source has no clients, so its figure
    /// applies to any number of clients.
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
    /// Adds a figure of one round.
    pub fn add(&mut self, column: Column, clients: usize, row: Row, value: f64) {
        self.0
            .entry((column, clients, row))
            .or_default()
            .push(value);
    }

    /// The figure combined over all rounds; `None` if it was not measured.
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

/// The middle value, or the mean of the two middle values.
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
