//! Fractions, and ranges of numbers.

use std::cmp::Ordering;
use std::ops::Rem;

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field::{self, Field};

/// A fraction in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fraction {
    numerator: i32,
    denominator: i32,
}

impl Fraction {
    /// This fraction, in lowest terms.
    ///
    /// # Errors
    /// [`InvalidValue`] where the denominator is not above 0, or the numerator is the lowest number,
    /// whose sign cannot be changed.
    pub fn new(numerator: i32, denominator: i32) -> Result<Fraction, InvalidValue> {
        check(denominator > 0, "the denominator of a fraction is above 0")?;
        check(
            numerator != i32::MIN,
            "the numerator of a fraction is above -2147483648",
        )?;
        let (mut divisor, mut rest) = (numerator.abs(), denominator);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        Ok(Fraction {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        })
    }

    /// The number above the line.
    pub fn numerator(self) -> i32 {
        self.numerator
    }

    /// The number below the line, above 0.
    pub fn denominator(self) -> i32 {
        self.denominator
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Fraction) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Fraction) -> Ordering {
        let ours = i64::from(self.numerator) * i64::from(other.denominator);
        ours.cmp(&(i64::from(other.numerator) * i64::from(self.denominator)))
    }
}

/// Numbers from `first` to `last`, each a multiple of `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntRange<T> {
    first: T,
    last: T,
    step: T,
}

impl<T: Copy + Ord + Default + Rem<Output = T>> IntRange<T> {
    /// This range.
    ///
    /// # Errors
    /// [`InvalidValue`] where `first` is not below `last`, `step` is not above 0, or one of the ends
    /// is no multiple of it.
    pub fn new(first: T, last: T, step: T) -> Result<IntRange<T>, InvalidValue> {
        let zero = T::default();
        check(first < last, "a range ends above its start")?;
        check(step > zero, "the step of a range is above 0")?;
        check(
            first % step == zero && last % step == zero,
            "the ends of a range are multiples of its step",
        )?;
        Ok(IntRange { first, last, step })
    }

    /// The lowest number.
    pub fn first(self) -> T {
        self.first
    }

    /// The highest number.
    pub fn last(self) -> T {
        self.last
    }

    /// The step.
    pub fn step(self) -> T {
        self.step
    }
}

/// Values from a first to a last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    first: T,
    last: T,
}

/// Numbers from a first to a last.
pub type DoubleRange = Range<f64>;
/// Fractions from a first to a last.
pub type FractionRange = Range<Fraction>;

impl<T: Copy + PartialOrd> Range<T> {
    /// This range.
    ///
    /// # Errors
    /// [`InvalidValue`] where `first` is not below `last`, which is so where one is not a number.
    pub fn new(first: T, last: T) -> Result<Range<T>, InvalidValue> {
        check(first < last, "a range ends above its start")?;
        Ok(Range { first, last })
    }

    /// The lowest value.
    pub fn first(self) -> T {
        self.first
    }

    /// The highest value.
    pub fn last(self) -> T {
        self.last
    }
}

impl Field for Fraction {
    const LEAST: usize = 8;

    fn decode(decoder: &mut Decoder<'_>) -> field::Result<Fraction> {
        let [numerator, denominator] = Field::decode(decoder)?;
        Ok(Fraction::new(numerator, denominator)?)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        [self.numerator, self.denominator].encode(encoder)
    }
}

impl<T: Field + Copy + Ord + Default + Rem<Output = T>> Field for IntRange<T> {
    fn decode(decoder: &mut Decoder<'_>) -> field::Result<IntRange<T>> {
        let [first, last, step] = Field::decode(decoder)?;
        Ok(IntRange::new(first, last, step)?)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        [self.first, self.last, self.step].encode(encoder)
    }
}

impl<T: Field + Copy + PartialOrd> Field for Range<T> {
    fn decode(decoder: &mut Decoder<'_>) -> field::Result<Range<T>> {
        let (first, last) = (T::decode(decoder)?, T::decode(decoder)?);
        Ok(Range::new(first, last)?)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        self.first.encode(encoder)?;
        self.last.encode(encoder)
    }
}
