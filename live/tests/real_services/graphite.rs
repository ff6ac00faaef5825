//! A Graphite whose files were filled beforehand, served by its own web application.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::debian::{finished, unpacked};
use crate::{Running, carrier, check, free_address, fresh, until_there};

/// What Graphite needs beside the system's own Python.
const PACKAGES: &[&str] = &[
    "graphite-web",
    "libbsd0",
    "libcairo2",
    "libfontconfig1",
    "libfreetype6",
    "libmd0",
    "libpixman-1-0",
    "libpng16-16",
    "libx11-6",
    "libxau6",
    "libxcb-render0",
    "libxcb-shm0",
    "libxcb1",
    "libxdmcp6",
    "libxext6",
    "libxrender1",
    "libbrotli1",
    "python3-asgiref",
    "python3-cairo",
    "python3-cairocffi",
    "python3-cffi-backend",
    "python3-django",
    "python3-django-tagging",
    "python3-pkg-resources",
    "python3-pyparsing",
    "python3-simplejson",
    "python3-six",
    "python3-sqlparse",
    "python3-tz",
    "python3-urllib3",
    "python3-whisper",
    "python3-xcffib",
];

const PYTHON: &str = "/usr/bin/python3";

const SETTINGS: &str = r#"
from graphite.settings import *
import os
STORAGE_DIR = LOG_DIR = os.path.dirname(os.path.abspath(__file__))
SECRET_KEY = "test"
WHISPER_DIR = STORAGE_DIR + "/whisper"
STANDARD_DIRS = [WHISPER_DIR]
INDEX_FILE = STORAGE_DIR + "/index"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": STORAGE_DIR + "/graphite.db"}}
ALLOWED_HOSTS = ["*"]
CARBONLINK_HOSTS = []
"#;

/// A hundred requests a minute, a tenth of which failed; one series is young and has mostly empty points.
const FILL: &str = r#"
import os, sys, time, whisper
now = int(time.time())
os.makedirs("whisper/shop")
for name, each, minutes in (("errors", 10, 15), ("total", 100, 15), ("young", 7.5, 2)):
    path = f"whisper/shop/{name}.wsp"
    whisper.create(path, [(60, 60)])
    whisper.update_many(path, [(now - 60 * minute, each) for minute in range(minutes)])
"#;

/// The programs of Graphite.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Unpacks them.
    pub fn get() -> Result<Programs, String> {
        if !Path::new(PYTHON).is_file() {
            return Err(format!("{PYTHON} is missing"));
        }
        let programs = Programs { folder: unpacked("graphite", PACKAGES)? };
        finished(
            programs.python(&programs.folder).args(["-c", "import cairocffi, django, graphite, whisper"]),
        )?;
        Ok(programs)
    }

    fn python(&self, at: &Path) -> Command {
        let mut python = Command::new(PYTHON);
        let libraries = format!("{}/usr/lib/{}-linux-gnu", self.folder.display(), std::env::consts::ARCH);
        let modules = format!("{}:{}/usr/lib/python3/dist-packages", at.display(), self.folder.display());
        python
            .current_dir(at)
            .env("PYTHONPATH", modules)
            .env("LD_LIBRARY_PATH", libraries)
            .env("DJANGO_SETTINGS_MODULE", "site_settings");
        python
    }

    fn start(&self) -> Result<Running, String> {
        let data = fresh(&self.folder)?;
        fs::write(data.join("site_settings.py"), SETTINGS).map_err(|error| error.to_string())?;
        finished(self.python(&data).args(["-c", FILL]))?;
        finished(self.python(&data).args(["-m", "django", "migrate", "--run-syncdb"]))?;
        let address = free_address()?;
        let mut server = self.python(&data);
        Running::start(server.args(["-m", "django", "runserver", "--noreload", &address]), &address, &data)
    }
}

/// Series of a quarter of an hour, and what metrics make of them.
pub async fn story(programs: &Programs) -> Result<(), String> {
    let (carrier, clock) = carrier()?;
    let now = clock.now();
    let server = programs.start()?;
    let provider = |query: &str| json!({"graphite": {"address": server.address, "query": query}});
    until_there(&carrier, &provider("target=shop.total&from=-3min"), "Successful [100.000000,", now).await?;
    let percent = "target=summarize(\n  asPercent(shop.errors, shop.total),\n  '5min', 'avg')&from=-5min";
    let cases = vec![
        (provider(percent), "all(result, # < 20)", "Successful [10.000000"),
        (provider(percent), "all(result, # < 5)", "Failed [10.000000"),
        (
            provider("target=shop.young&from=-10min"),
            "len(result) < 4 && result[0] == 7.5",
            "Successful [7.500000",
        ),
        (provider("target=shop.none&from=-5min"), "true", "Error: no values found"),
        (provider("target=shop.errors&from=nonsense"), "true", "Error: error response: "),
        (
            json!({"graphite": {"address": format!("{}/nowhere", server.address), "query": "target=a"}}),
            "true",
            "Error: error response: ",
        ),
    ];
    check(&carrier, now, cases).await
}
