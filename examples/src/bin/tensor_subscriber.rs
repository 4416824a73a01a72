//! Receives the batches that `tensor_publisher` publishes and prints the mean of each.
//!
//!     cargo run --release --bin tensor_subscriber -- batches

use xmem_core::{Channel, Error, Subscriber, View};

fn main() -> xmem_core::Result<()> {
    let channel = std::env::args().nth(1).unwrap_or("batches".into());
    let builder = Subscriber::builder(Channel::name(channel))
        .name("tensor_subscriber")
        .connect_timeout(None); // Waits for a publisher without a limit.
    loop {
        match builder.clone().connect().and_then(receive_all) {
            Err(Error::EndOfStream) => return Ok(()),
            // The publisher has stopped or crashed; another one may come.
            Err(error) if error.is_retryable() => println!("{error}; waits for the next one"),
            other => return other,
        }
    }
}

/// Receives until there is a reason to stop.
fn receive_all(mut subscriber: Subscriber) -> xmem_core::Result<()> {
    loop {
        // Waits without a limit. The frame is not written again until it is dropped.
        let frame = subscriber.receive(None)?;
        // Reads where the publisher has written. Checks the element type and the shape.
        let batch = frame.view::<f32>()?;
        let elements: usize = batch.shape().iter().product();
        println!(
            "frame {:5}  {:?}  mean {:.1}  missed {}",
            frame.seq(),
            batch.shape(),
            sum(batch) / elements as f64,
            frame.missed(),
        );
    }
}

/// The sum of a view with any number of dimensions.
fn sum(view: View<'_, f32>) -> f64 {
    if view.shape().len() <= 1 {
        view.iter().map(f64::from).sum()
    } else {
        (0..view.shape()[0])
            .filter_map(|index| view.at(index))
            .map(sum)
            .sum()
    }
}
