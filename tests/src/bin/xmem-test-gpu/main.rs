//! A producer or a client of frames in the memory of a GPU, as a test tells it: see `xmem_tests::gpu`.

// Calls of the driver, on memory that xmem has given.
#![allow(unsafe_code)]

mod acting;
mod client;
mod producer;
mod settings;
mod stepped;

use std::error::Error;

use xmem_tests::Line;
use xmem_tests::order::{self, Order};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let settings = settings::Settings::parse(arguments);
    let ended = match role.as_str() {
        "producer" => producer::Producer::open(&settings).map(serve),
        "client" => client::Client::connect(settings).map(serve),
        "stepped-client" => return stepped::client(&settings).expect("the channel goes on"),
        "stepped-producer" => return stepped::producer(&settings).expect("the channel goes on"),
        other => Err(format!("unknown role {other:?}").into()),
    };
    if let Err(error) = ended {
        println!("{}", failed(&*error));
    }
}

/// What takes the orders of a role.
trait Role {
    type Order: Order;

    /// Obeys an order. The answer's word is added.
    fn obey(&mut self, order: &Self::Order) -> Result<Line>;
}

fn serve<R: Role>(mut role: R) {
    println!("{}", R::Order::GREETING);
    for order in order::received::<R::Order>() {
        let mut line = role.obey(&order).unwrap_or_else(|error| failed(&*error));
        if line.word.is_empty() {
            line.word = order.answer().into();
        }
        println!("{line}");
    }
}

fn failed(error: &(dyn Error + 'static)) -> Line {
    let kind = error
        .downcast_ref::<xmem_core::Error>()
        .map_or("other", |error| error.kind().name());
    Line::new("failed").with("kind", kind).with("text", error)
}
