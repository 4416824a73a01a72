//! The driver: the machine's, or the stand-in for it.

use std::fmt;
use std::process::Command;

use cudarc::driver::sys;
use xmem_core::cuda::Device;
use xmem_tests::fakecuda::FakeCuda;
use xmem_tests::roles::parent::tell;
use xmem_tests::roles::{Child, PATIENCE};

use crate::Result;

/// How the devices of the stand-in are called.
const STAND_IN: &str = "Stand-in";
/// Bytes of memory of a device of the stand-in: enough for the largest run.
const MEMORY: u64 = 8 << 30;

/// What the processes of the bench call.
pub struct Driver {
    /// Installed here, where the machine has no driver.
    installed: Option<FakeCuda>,
    device: String,
    /// `12040` for 12.4.
    version: u32,
}

impl Driver {
    /// The machine's driver, or else the stand-in.
    pub fn find() -> Result<Driver> {
        Driver::with(None).or_else(|error| {
            eprintln!("{error}: the stand-in takes the place of the driver");
            Driver::with(Some(FakeCuda::new().with("FAKECUDA_MEMORY", MEMORY)))
        })
    }

    fn with(installed: Option<FakeCuda>) -> Result<Driver> {
        let mut driver = Driver {
            installed,
            device: String::new(),
            version: 0,
        };
        let child = Child::spawn("the look at the device", driver.role(&["device"])?)?;
        driver.version = child.report("version", PATIENCE)?.parse()?;
        driver.device = child.report("device", PATIENCE)?;
        child.end()?;
        Ok(driver)
    }

    /// The command that runs a role of this executable on the driver.
    pub fn role(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        if let Some(installed) = &self.installed {
            installed.apply(&mut command);
            // It would grow by several lines a frame.
            command.env_remove("FAKECUDA_LOG");
        }
        Ok(command)
    }

    /// Whether no GPU is measured.
    pub fn is_stand_in(&self) -> bool {
        self.device.starts_with(STAND_IN)
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = (self.version / 1000, self.version % 1000 / 10);
        writeln!(f, "device      {}", self.device)?;
        writeln!(f, "driver      for CUDA {major}.{minor}")?;
        if self.is_stand_in() {
            writeln!(f, "            NO GPU: the times below say nothing of one")?;
        }
        Ok(())
    }
}

/// The role that looks at the device. Reports `version` and `device`.
pub fn describe() -> Result<()> {
    let device = Device::get(0)?;
    let mut version = 0;
    // SAFETY: it writes a number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    tell("version", version);
    let gigabytes = device.memory() as f64 / 1e9;
    let (name, uuid) = (device.name(), device.uuid());
    tell("device", format_args!("{name}, {uuid}, {gigabytes:.0} GB"));
    Ok(())
}
