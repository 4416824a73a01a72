//! Orders to the processes of a test, as types that the test and the program share.
//!
//! An order crosses as one line of JSON.

use std::fmt::Debug;
use std::io::BufRead;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The orders to one program.
pub trait Order: Debug + Serialize + DeserializeOwned {
    /// The name of the program.
    const PROGRAM: &'static str;
    /// The first argument of the program, if it has several roles.
    const ROLE: &'static str = "";
    /// The first word of the line that says that the program takes orders.
    const GREETING: &'static str = "ready";

    /// The first word of the answer.
    fn answer(&self) -> &'static str;
}

/// What a line says.
#[derive(Serialize, Deserialize)]
enum Told<O> {
    Order(O),
    End,
}

/// Writes an order as a line; `None` tells the process to end.
pub(crate) fn to_line<O: Order>(order: Option<&O>) -> String {
    let told = order.map_or(Told::End, Told::Order);
    serde_json::to_string(&told).expect("an order has a text")
}

/// The orders on the standard input, until the process has to end. If the input ends without such
/// an order, the test has ended, and the process ends here.
///
/// # Panics
/// If a line is no order.
pub fn received<O: Order>() -> impl Iterator<Item = O> {
    let lines = std::io::stdin().lock().lines();
    let orders = lines.map_while(Result::ok).map(|line| from_line(&line));
    let end = std::iter::once_with(|| -> Option<O> { std::process::exit(1) });
    orders.chain(end).map_while(|order| order)
}

fn from_line<O: Order>(line: &str) -> Option<O> {
    match serde_json::from_str(line) {
        Ok(Told::Order(order)) => Some(order),
        Ok(Told::End) => None,
        Err(error) => panic!("{line}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacked::Report;
    use crate::pipeline::Order as PipelineOrder;

    #[test]
    fn what_is_written_is_read() {
        let order = PipelineOrder::set("sink", "channel", "a \"name\"\nof = two lines");
        let line = to_line(Some(&order));
        assert!(!line.contains('\n'));
        let read: Option<PipelineOrder> = from_line(&line);
        assert_eq!(format!("{read:?}"), format!("{:?}", Some(order)));
        // An order without content is no end.
        assert!(from_line::<Report>(&to_line(Some(&Report))).is_some());
        assert!(from_line::<Report>(&to_line::<Report>(None)).is_none());
    }
}
