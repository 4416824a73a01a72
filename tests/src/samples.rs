//! Measured times in ns, and their statistics.

/// A percentile by nearest rank, in µs: the smallest value that is not exceeded by the given share
/// of all. The times are in ns, ascending.
pub fn percentile_us(sorted_ns: &[u64], share: f64) -> f64 {
    let rank = (sorted_ns.len() as f64 * share).ceil() as usize;
    sorted_ns[rank.clamp(1, sorted_ns.len()) - 1] as f64 / 1000.0
}

/// The numbers as one word of text, for another process.
pub fn to_text(numbers: &[u64]) -> String {
    let words: Vec<String> = numbers.iter().map(u64::to_string).collect();
    words.join(",")
}

/// Parses such a word.
///
/// # Errors
/// If one of the numbers is not a number.
pub fn numbers(text: &str) -> Result<Vec<u64>, std::num::ParseIntError> {
    text.split_terminator(',').map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for samples in [&[][..], &[7], &[3, 0, u64::MAX]] {
            assert_eq!(numbers(&to_text(samples)).as_deref(), Ok(samples));
        }
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples = [1000, 2000, 3000, 4000];
        let percentiles = [0.0, 0.5, 0.51, 0.99, 1.0].map(|share| percentile_us(&samples, share));
        assert_eq!(percentiles, [1.0, 2.0, 3.0, 4.0, 4.0]);
    }
}
