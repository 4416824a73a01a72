//! A run: one producer, and clients.

use std::time::Duration;

use xmem_tests::roles::{Bill, Child, PATIENCE};
use xmem_tests::samples::numbers;

use crate::Result;
use crate::driver::Driver;

/// What is run.
pub struct Run {
    /// Bytes of a frame.
    pub size: usize,
    pub clients: usize,
    /// Whether the clients poll.
    pub is_spinning: bool,
    /// Frames of a window.
    pub frames: usize,
}

/// What was measured.
pub struct Figures {
    /// Ascending, in ns.
    pub handoff: Vec<u64>,
    /// Ascending, in ns.
    pub calls: Vec<u64>,
    pub producer_cpu_us: f64,
    pub client_cpu_us: f64,
    pub missed: usize,
}

impl Run {
    /// How the clients wait.
    pub fn wait(&self) -> &'static str {
        if self.is_spinning {
            "spinning"
        } else {
            "asleep"
        }
    }

    pub fn measure(&self, driver: &Driver) -> Result<Figures> {
        let directory = tempfile::Builder::new().prefix("xmem-bench-").tempdir()?;
        let socket = directory.path().join("gpu0.sock");
        let socket = socket.to_str().ok_or("a path that is no text")?;
        let frames = self.frames.to_string();
        let (size, clients) = (self.size.to_string(), self.clients.to_string());
        let role = driver.role(&["producer", socket, &size, &clients, &frames])?;
        let producer = Child::spawn("the producer", role)?;
        producer.report("open", PATIENCE)?;
        let start = |number| {
            let role = driver.role(&["client", socket, &frames, self.wait()])?;
            Child::spawn(format!("client {number}"), role)
        };
        let clients = (0..self.clients).map(start).collect::<Result<Vec<_>>>()?;

        // A frame takes milliseconds where a CPU writes it.
        let within = PATIENCE + Duration::from_millis(100) * self.frames as u32;
        let written = numbers(&producer.report("written", within)?)?;
        let mut calls = numbers(&producer.report("calls", PATIENCE)?)?;
        let bill: Bill = producer.report("bill", PATIENCE)?.parse()?;
        let mut handoff = Vec::new();
        let mut client_cpu_us = 0.0;
        for client in &clients {
            let positions = numbers(&client.report("positions", PATIENCE)?)?;
            let arrivals = numbers(&client.report("arrivals", PATIENCE)?)?;
            for (position, arrived) in positions.into_iter().zip(arrivals) {
                let written = written.get(position as usize);
                let written = written.ok_or("a frame that was not published")?;
                // Another thread than the one that stamps may see the end first.
                handoff.push(arrived.saturating_sub(*written));
            }
            let bill: Bill = client.report("bill", PATIENCE)?.parse()?;
            client_cpu_us += bill.cpu_a_frame() / self.clients as f64;
        }
        for client in clients {
            client.end()?;
        }
        producer.end()?;
        if handoff.is_empty() {
            return Err("no frame came".into());
        }
        handoff.sort_unstable();
        calls.sort_unstable();
        Ok(Figures {
            missed: self.frames * self.clients - handoff.len(),
            handoff,
            calls,
            producer_cpu_us: bill.cpu_a_frame(),
            client_cpu_us,
        })
    }
}
