//! The settings of a process, from its environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

/// When work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Within the call that enqueues it, unless it has to wait.
    Eager,
    /// After this time.
    Delay(Duration),
    /// When the test says so.
    Hold,
}

/// A call that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub function: String,
    /// The number of the call, from 1; all calls if absent.
    pub call: Option<u64>,
    pub code: u32,
}

/// The settings of this process.
#[derive(Debug)]
pub struct Settings {
    pub mode: Mode,
    pub control: Option<PathBuf>,
    pub devices: usize,
    pub visible: Option<String>,
    pub memory: usize,
    pub fill: u8,
    pub attributes: BTreeMap<u32, i32>,
    pub faults: Vec<Fault>,
    pub has_read_only: bool,
    pub version: i32,
    pub log: Option<PathBuf>,
}

/// The settings of this process, or `None` if they are malformed.
pub fn get() -> Option<&'static Settings> {
    static SETTINGS: OnceLock<Option<Settings>> = OnceLock::new();
    let settings = SETTINGS.get_or_init(|| {
        let settings = Settings::read(|name| std::env::var(name).ok());
        settings
            .inspect_err(|problem| eprintln!("fakecuda: {problem}"))
            .ok()
    });
    settings.as_ref()
}

impl Settings {
    fn read(value: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        let settings = Settings {
            mode: parsed(&value, "FAKECUDA_MODE", mode)?.unwrap_or(Mode::Eager),
            control: value("FAKECUDA_CONTROL").map(PathBuf::from),
            devices: parsed(&value, "FAKECUDA_DEVICES", number)?.unwrap_or(1),
            visible: value("CUDA_VISIBLE_DEVICES"),
            memory: parsed(&value, "FAKECUDA_MEMORY", number)?.unwrap_or(2 << 30),
            fill: parsed(&value, "FAKECUDA_FILL", number)?.unwrap_or(0),
            attributes: parsed(&value, "FAKECUDA_ATTR", |text| list(text, attribute))?
                .unwrap_or_default(),
            faults: parsed(&value, "FAKECUDA_FAIL", |text| list(text, fault))?.unwrap_or_default(),
            has_read_only: value("FAKECUDA_NO_READONLY").is_none_or(|value| value != "1"),
            version: parsed(&value, "FAKECUDA_VERSION", number)?.unwrap_or(13010),
            log: value("FAKECUDA_LOG").map(PathBuf::from),
        };
        if settings.mode == Mode::Hold && settings.control.is_none() {
            return Err("FAKECUDA_MODE=hold needs FAKECUDA_CONTROL".into());
        }
        Ok(settings)
    }
}

fn parsed<T>(
    value: impl Fn(&str) -> Option<String>,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, String> {
    let Some(text) = value(name) else {
        return Ok(None);
    };
    match parse(&text) {
        Some(value) => Ok(Some(value)),
        None => Err(format!("{name}={text} is malformed")),
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn list<T, L: FromIterator<T>>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<L> {
    let entries = text.split(',').filter(|entry| !entry.is_empty());
    entries.map(parse).collect()
}

fn mode(text: &str) -> Option<Mode> {
    match (text, text.strip_prefix("delay:")) {
        ("eager", _) => Some(Mode::Eager),
        ("hold", _) => Some(Mode::Hold),
        (_, Some(time)) => Some(Mode::Delay(Duration::from_micros(number(time)?))),
        _ => None,
    }
}

fn attribute(text: &str) -> Option<(u32, i32)> {
    let (attribute, value) = text.split_once(':')?;
    Some((number(attribute)?, number(value)?))
}

fn fault(text: &str) -> Option<Fault> {
    let (function, code) = text.split_once(':')?;
    let (function, call) = match function.split_once('@') {
        Some((function, call)) => (function, Some(number(call)?)),
        None => (function, None),
    };
    Some(Fault {
        function: function.into(),
        call,
        code: number(code)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| {
            let value = values.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn settings_are_read() {
        let settings = read(&[
            ("FAKECUDA_MODE", "delay:250"),
            ("FAKECUDA_ATTR", "102:0,103:0"),
            ("FAKECUDA_FAIL", "cuMemCreate@3:2,cuMemMap:801"),
            ("FAKECUDA_FILL", "205"),
        ])
        .unwrap();
        assert_eq!(settings.mode, Mode::Delay(Duration::from_micros(250)));
        assert_eq!(settings.attributes, BTreeMap::from([(102, 0), (103, 0)]));
        assert_eq!(settings.fill, 205);
        let faults: Vec<_> = settings.faults.iter().map(|f| (f.call, f.code)).collect();
        assert_eq!(faults, [(Some(3), 2), (None, 801)]);
        assert_eq!(settings.faults[1].function, "cuMemMap");
    }

    #[test]
    fn malformed_settings_are_refused() {
        for (name, value) in [
            ("FAKECUDA_MODE", "lazy"),
            ("FAKECUDA_MODE", "hold"),
            ("FAKECUDA_FAIL", "cuMemCreate"),
            ("FAKECUDA_FILL", "256"),
        ] {
            assert!(read(&[(name, value)]).unwrap_err().contains(name));
        }
    }
}
