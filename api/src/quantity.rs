//! Amounts of a resource as Kubernetes writes them: `150m`, `2`, `1.5Gi`, `1e3`.
//!
//! Exact arithmetic on a decimal mantissa and exponent, never on floats. What Kubernetes accepts but nobody means
//! (more digits than an `i128` holds, exponents beyond a thousand) is refused.

use std::cmp::Ordering;
use std::fmt;

/// An amount. Equal and ordered by value: `0.15` is `150m`.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// The value is `mantissa · 10^exponent`; the mantissa does not end in zero, and zero is `0 · 10^0`.
    mantissa: i128,
    exponent: i32,
    family: Family,
    /// The text as it came, where Kubernetes keeps it instead of printing the value anew.
    kept: Option<String>,
}

/// Which suffixes an amount is printed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Decimal,
    Binary,
    Exponent,
}

/// Why a text is no amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' and stay in range"
)]
pub struct NotAQuantity;

const NANO: i32 = -9;
const LARGEST_EXPONENT: i32 = 1000;
/// Kubernetes keeps amounts of up to this many digits in a machine word, and prints those a little differently.
const WORD_DIGITS: usize = 18;

impl Quantity {
    /// Reads an amount.
    pub fn parse(text: &str) -> Result<Quantity, NotAQuantity> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NotAQuantity);
        }
        let Parts { negative, whole, fraction, suffix } = Parts::of(text)?;
        let (family, power) = read_suffix(suffix)?;
        let digits = format!("{whole}{fraction}");
        let places = i32::try_from(fraction.len()).map_err(|_| NotAQuantity)?;
        let mut mantissa: i128 = digits.parse().map_err(|_| NotAQuantity)?;
        let mut exponent = if family == Family::Binary { 0 } else { power };
        if exponent.abs() > LARGEST_EXPONENT {
            return Err(NotAQuantity);
        }
        exponent -= places;
        let digitless = !text.bytes().any(|b| b.is_ascii_digit());
        if digitless && power >= 50 {
            return Err(NotAQuantity); // Kubernetes reads `Ki` as zero and refuses `Pi`.
        }
        if family == Family::Binary {
            mantissa = mantissa.checked_mul(1_i128 << power).ok_or(NotAQuantity)?;
        }

        let in_a_word = match family {
            Family::Binary => {
                let spent = power * 3 / 10 + 1;
                fraction.is_empty() && usize::try_from(15 - spent).is_ok_and(|left| whole.len() <= left)
            }
            _ => digits.len() <= WORD_DIGITS && exponent >= NANO,
        };
        let prints_itself = in_a_word
            && match family {
                Family::Binary => whole.parse::<u64>().is_ok_and(|n| n & 7 != 0),
                _ => exponent % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0'),
            };

        if exponent < NANO {
            mantissa = divide_rounding_up(mantissa, NANO - exponent);
            exponent = NANO;
        }
        let mut quantity = Quantity { mantissa, exponent, family, kept: None }.reduced();
        if family == Family::Binary && !in_a_word {
            quantity = quantity.capped();
            if quantity.magnitude() < 1 {
                quantity.family = Family::Decimal;
            }
        }
        if negative {
            quantity.mantissa = -quantity.mantissa;
        }
        quantity.kept = prints_itself.then(|| text.to_owned());
        Ok(quantity)
    }

    /// The same amount rounded up, away from zero, to thousandths, as the API server stores resource lists.
    pub fn in_thousandths(&self) -> Quantity {
        if self.exponent >= -3 {
            return self.clone();
        }
        let mantissa = divide_rounding_up(self.mantissa, -3 - self.exponent);
        Quantity { mantissa, exponent: -3, family: self.family, kept: None }.reduced()
    }

    /// Whether it is less than nothing.
    pub fn is_negative(&self) -> bool {
        self.mantissa < 0
    }

    /// A text that two amounts share exactly when they are equal.
    pub fn value_text(&self) -> String {
        format!("{}e{}", self.mantissa, self.exponent)
    }

    fn reduced(mut self) -> Quantity {
        while self.mantissa != 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.exponent += 1;
        }
        if self.mantissa == 0 {
            self.exponent = 0;
        }
        self
    }

    /// Amounts with binary suffixes stop at the largest 64-bit number.
    fn capped(self) -> Quantity {
        let largest = i128::from(i64::MAX);
        let whole_part =
            divisor(-self.exponent).map(|divisor| self.mantissa / divisor).or_else(|| self.whole());
        if whole_part.is_some_and(|whole| whole < largest) {
            return self;
        }
        Quantity { mantissa: largest, exponent: 0, ..self }.reduced()
    }

    /// The value as a whole number, if it is one and not absurdly large.
    fn whole(&self) -> Option<i128> {
        let power = u32::try_from(self.exponent).ok()?;
        self.mantissa.checked_mul(10_i128.checked_pow(power)?)
    }

    /// The number of digits left of the decimal point, counted for zero as none.
    fn magnitude(&self) -> i64 {
        let digits = self.mantissa.unsigned_abs().checked_ilog10().map_or(0, |log| i64::from(log) + 1);
        digits + i64::from(self.exponent)
    }

    fn print_binary(&self, out: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
        let mut amount = self.whole().filter(|amount| amount.abs() >= 1024)?;
        let mut times = 0;
        while amount % 1024 == 0 {
            amount /= 1024;
            times += 1;
        }
        let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(times).copied().unwrap_or("");
        Some(write!(out, "{amount}{suffix}"))
    }
}

/// The canonical form: the largest suffix of the family that leaves a whole number.
impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kept) = &self.kept {
            return out.write_str(kept);
        }
        if self.mantissa == 0 {
            return out.write_str("0");
        }
        if self.family == Family::Binary
            && let Some(result) = self.print_binary(out)
        {
            return result;
        }
        let spare = self.exponent.rem_euclid(3);
        let exponent = self.exponent - spare;
        let zeros = &"00"[..usize::try_from(spare).unwrap_or(0)];
        write!(out, "{}{zeros}", self.mantissa)?;
        if self.family == Family::Exponent {
            return if exponent == 0 { Ok(()) } else { write!(out, "e{exponent}") };
        }
        // Beyond the largest suffix Kubernetes prints none at all; the hash must follow it there.
        out.write_str(DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(suffix, _)| suffix))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        (self.mantissa, self.exponent) == (other.mantissa, other.exponent)
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        let signs = self.mantissa.signum().cmp(&other.mantissa.signum());
        if signs != Ordering::Equal || self.mantissa == 0 {
            return signs;
        }
        let sizes = self.magnitude().cmp(&other.magnitude()).then_with(|| {
            // Equally many digits before the point: compare the digits as text, as fractions of one.
            let (a, b) =
                (self.mantissa.unsigned_abs().to_string(), other.mantissa.unsigned_abs().to_string());
            a.cmp(&b)
        });
        if self.mantissa < 0 { sizes.reverse() } else { sizes }
    }
}

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// The family of a suffix and the power of ten, or of two, that it stands for.
fn read_suffix(suffix: &str) -> Result<(Family, i32), NotAQuantity> {
    let of = |list: &[(&str, i32)]| list.iter().find(|(name, _)| *name == suffix).map(|(_, power)| *power);
    if let Some(power) = of(&DECIMAL) {
        return Ok((Family::Decimal, power));
    }
    if let Some(power) = of(&BINARY) {
        return Ok((Family::Binary, power));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(NotAQuantity)?;
    Ok((Family::Exponent, exponent.parse().map_err(|_| NotAQuantity)?))
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Parts<'a>, NotAQuantity> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let rest = unsigned.trim_start_matches('0');
        let split =
            |text: &'a str| text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let (whole, rest) = split(rest);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split);
        let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let digits = letters.strip_prefix(['-', '+']).unwrap_or(letters);
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAQuantity);
        }
        let whole = if whole.is_empty() { "0" } else { whole };
        Ok(Parts { negative: text.starts_with('-'), whole, fraction, suffix })
    }
}

/// `value / 10^places`, rounded away from zero.
fn divide_rounding_up(value: i128, places: i32) -> i128 {
    let Some(divisor) = divisor(places) else { return value.signum() };
    let (quotient, rest) = (value / divisor, value % divisor);
    quotient + rest.signum()
}

/// `10^places`, for places from zero to as many as fit.
fn divisor(places: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(places).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_printed_as_kubernetes_prints_them() {
        let check = |text: &str, want: &str| {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()), Ok(want.to_owned()), "{text}");
        };
        check("2000m", "2");
        check("0.15", "150m");
        check("8192M", "8192M");
        check("1024Mi", "1Gi");
        check("0", "0");
        check("-0", "0");
        check("1.5Gi", "1536Mi");
        check("0.5Ki", "512");
        check("1000Ki", "1000Ki");
        check("0.1", "100m");
        check("1e3", "1e3");
        check("1000e3", "1e6");
        check("12e1", "120");
        check("0.0000000001", "1n");
        check("-0.0000000001", "-1n");
        check("1.500", "1.500");
        check("1.50", "1500m");
        check("+5", "+5");
        check("005", "005");
        check(" 5 ", "5");
        check("1Ei", "1Ei");
        check("16Ei", "9223372036854775807");
        check("1000E", "1");
        check("123456789012345678901", "123456789012345678901");
        check("05.3Ei", "6110483974416288972800m");
        check("1.1Ki", "1126400m");
        check("0.0001Ki", "102400u");
        check("Ki", "0");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "x",
            "1 Gi",
            "1.2.3",
            "1Kib",
            "--1",
            "1e",
            "1e999999999",
            "1e-9999",
            "1ee3",
            "Pi",
            ".Ei",
            &"9".repeat(60),
        ] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_compare_by_value() {
        let check = |a: &str, order: Ordering, b: &str| {
            let (a, b) = (Quantity::parse(a).unwrap(), Quantity::parse(b).unwrap());
            assert_eq!(a.cmp(&b), order, "{a} {b}");
            assert_eq!(a == b, order == Ordering::Equal);
        };
        check("1", Ordering::Equal, "1000m");
        check("1Gi", Ordering::Equal, "1024Mi");
        check("1Gi", Ordering::Greater, "1G");
        check("-1", Ordering::Less, "1n");
        check("-1", Ordering::Greater, "-1.1");
        check("1e900", Ordering::Greater, "1e899");
        check("12", Ordering::Greater, "123m");
        check("12", Ordering::Less, "12.3");
        check("0", Ordering::Equal, "0Ki");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_panic(text in "[+-]?[0-9.]{0,45}[eEinumkKMGTP]{0,2}[+-]?[0-9]{0,6}|.{0,12}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                let _ = (quantity.in_thousandths().to_string(), quantity.cmp(&quantity.in_thousandths()));
                if quantity.magnitude() < 18 {
                    prop_assert_eq!(&Quantity::parse(&quantity.to_string()).unwrap(), &quantity, "{}", quantity);
                }
            }
        }

        #[test]
        fn order_agrees_with_integers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let (x, y) = (Quantity::parse(&format!("{a}m")).unwrap(), Quantity::parse(&format!("{b}m")).unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }
}
