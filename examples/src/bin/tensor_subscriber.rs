//! Receives the batches that `tensor_publisher` publishes and prints the mean of each.
//!
//!     cargo run --release --bin tensor_subscriber -- batches

use xmem_core::{Channel, Error, Subscriber};

fn main() -> xmem_core::Result<()> {
    let channel = std::env::args().nth(1).unwrap_or("batches".into());
    loop {
        // Waits for the publisher to appear; it may come and go.
        let mut subscriber = Subscriber::builder(Channel::name(&channel))
            .name("tensor_subscriber")
            .connect_timeout(None)
            .connect()?;
        loop {
            match subscriber.receive(None) {
                Ok(frame) => {
                    let batch = frame.view::<f32>()?;
                    let mut sum = 0.0f64;
                    for image in 0..batch.shape()[0] {
                        for plane in 0..batch.shape()[1] {
                            let plane = batch.at(image).and_then(|image| image.at(plane));
                            let rows = (0..batch.shape()[2])
                                .filter_map(|row| plane.and_then(|plane| plane.at(row)));
                            sum += rows.flat_map(|row| row.iter()).map(f64::from).sum::<f64>();
                        }
                    }
                    let elements: usize = batch.shape().iter().product();
                    println!(
                        "frame {:5}  {:?} of {}  mean {:.1}  missed {}",
                        frame.seq(),
                        batch.shape(),
                        frame.meta().dtype(),
                        sum / elements as f64,
                        frame.missed(),
                    );
                }
                Err(Error::EndOfStream) => return Ok(()),
                Err(error) if error.is_retryable() => {
                    println!("{error}; waiting for the next one");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
