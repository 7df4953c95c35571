//! A headless Chromium and one page in it, over the DevTools protocol (<https://chromedevtools.github.io/devtools-protocol/>).

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// Longer than a browser takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tried in this order, after `$CHROME`.
const NAMES: [&str; 7] = [
    "google-chrome",
    "google-chrome-stable",
    "chromium",
    "chromium-browser",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
];

/// A page, its console and its network.
pub struct Page {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: Value,
    commands: u64,
    events: Vec<Value>,
    _profile: TempDir,
}

fn find() -> PathBuf {
    let chosen = std::env::var_os("CHROME").map(PathBuf::from);
    let candidates = chosen.into_iter().chain(NAMES.map(PathBuf::from));
    // Ubuntu's chromium-browser may be a script that only says how to install it. Windows' browsers print no version.
    let works = |path: &PathBuf| match cfg!(windows) {
        true => path.is_file(),
        false => Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success()),
    };
    candidates.into_iter().find(works).unwrap_or_else(|| {
        panic!(
            "this test needs Chromium or Chrome: run scripts/test, or apt-get install chromium, or name one in $CHROME"
        )
    })
}

impl Page {
    /// Opens a file at a width in pixels.
    pub fn open(file: &Path, width: u32) -> Self {
        // Not the system's folder for temporary files, which a confined browser does not see.
        let profile = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let process = Command::new(find())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", "--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (port, path) = address(profile.path());
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream).unwrap();
        let session = Value::Null;
        let mut page = Self { process, socket, session, commands: 0, events: Vec::new(), _profile: profile };
        let target = page.command("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = page.command("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        page.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.command(&format!("{domain}.enable"), json!({}));
        }
        let metrics = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600 });
        page.command("Emulation.setDeviceMetricsOverride", metrics);
        // Windows' paths begin without a slash.
        let path = file.display().to_string().replace('\\', "/");
        page.command("Page.navigate", json!({ "url": format!("file:///{}", path.trim_start_matches('/')) }));
        page.wait_for("document.readyState == 'complete' && location.protocol == 'file:'");
        page
    }

    /// The result of a command; what happens meanwhile is kept.
    pub fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.commands += 1;
        let mut message = json!({ "id": self.commands, "method": method, "params": parameters });
        if self.session.is_string() {
            message["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let message = match self.socket.read() {
                // A process that was stopped and goes on.
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                message => message.unwrap_or_else(|error| panic!("{method}: {error}")),
            };
            let Ok(text) = message.to_text() else { continue };
            let mut answer: Value = serde_json::from_str(text).unwrap();
            if answer["id"] == self.commands {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// The value of an expression in the page; promises are waited for.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.command("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    #[track_caller]
    pub fn wait_for(&mut self, condition: &str) {
        let started = Instant::now();
        while self.evaluate(condition) != true {
            assert!(started.elapsed() < PATIENCE, "never true: {condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Moves the mouse to a place in an element, in shares of its width and height.
    pub fn point(&mut self, selector: &str, across: f64, down: f64) -> [f64; 2] {
        let rectangle = self.evaluate(&format!(
            "(() => {{ const one = document.querySelector('{selector}'); one.scrollIntoView({{ block: 'center' }}); \
             const {{ left, top, width, height }} = one.getBoundingClientRect(); return [left, top, width, height]; }})()"
        ));
        let [left, top, width, height] = [0, 1, 2, 3].map(|at| rectangle[at].as_f64().unwrap());
        let at = [left + across * width, top + down * height];
        let parameters = json!({ "type": "mouseMoved", "x": at[0], "y": at[1] });
        self.command("Input.dispatchMouseEvent", parameters);
        at
    }

    pub fn click(&mut self, selector: &str) {
        let [x, y] = self.point(selector, 0.5, 0.5);
        for kind in ["mousePressed", "mouseReleased"] {
            let parameters = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", parameters);
        }
    }

    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.command("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "code": key }));
        }
    }

    /// What the page complained about, and what it asked for beyond itself.
    pub fn complaints(&mut self) -> Vec<String> {
        // The events before it arrive before its answer.
        self.evaluate("1");
        let is_bad = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded") => true,
            Some("Network.requestWillBeSent") => {
                let url = event["params"]["request"]["url"].as_str().unwrap();
                event["params"]["type"] != "Document" && !url.starts_with("data:")
            }
            _ => false,
        };
        self.events.iter().filter(is_bad).map(Value::to_string).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Where the browser listens, once it says so in its profile.
fn address(profile: &Path) -> (u16, String) {
    let file = profile.join("DevToolsActivePort");
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Ok(text) = std::fs::read_to_string(&file)
            && let Some((port, path)) = text.split_once('\n')
            && !path.is_empty()
        {
            return (port.parse().unwrap(), path.trim().into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the browser did not start within {} s", PATIENCE.as_secs());
}
