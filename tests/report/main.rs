//! `report.html` in a real browser: that it opens what is chosen, tells values, fits a phone, and asks for nothing but itself.

mod browser;

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use browser::Page;
use shadegrad::Result;
use shadegrad::data::{ImageShape, Split};
use shadegrad::machine::Classifier;
use shadegrad::nn::{Fusion, Images, Network, Plan, PlanRequest};
use shadegrad::ops::Tuned;
use shadegrad::random::{Purpose, Random};
use shadegrad::report::{self, Tested};
use shadegrad::train::{AdapterRecord, Config, DataRecord, Event, Settings, evaluate};
use tempfile::TempDir;

const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
const EPOCHS: u32 = 4;

/// A network that is right about half of the time, and more often confuses a class with the next than with any other.
struct Guesser {
    plan: Plan,
    classes: usize,
}

impl Classifier for Guesser {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn logits(&mut self, split: &Split, range: Range<usize>) -> Result<Vec<f32>> {
        let row = |image: usize| {
            let mut random = Random::new(0, Purpose::Test, image as u64);
            let mut row: Vec<f32> = (0..self.classes).map(|_| random.range(0.0, 3.0)).collect();
            let label = usize::from(split.labels[image]);
            row[label] += random.range(0.0, 4.0);
            row[(label + 1) % self.classes] += random.range(0.0, 2.0);
            row
        };
        Ok(range.flat_map(row).collect())
    }
}

/// A finished run on drawn noise, and its page.
struct Run {
    folder: TempDir,
    confusion: Vec<Vec<u32>>,
}

impl Run {
    fn new(classes: &[String], images: usize) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let network = Network::load("lenet").unwrap();
        let data = DataRecord {
            name: "pictures".into(),
            source: "nowhere".into(),
            train: 400,
            test: images as u64,
            classes: classes.to_vec(),
            shape: [SHAPE.channels, SHAPE.height, SHAPE.width],
            sha256: "0".repeat(64),
        };
        let settings = Settings { epochs: EPOCHS, data: "my pictures/of <all> sorts".into(), ..Settings::default() };
        let adapter = AdapterRecord::reference();
        let config = Config { settings, network, data, adapter, kernels: Vec::new(), tuned: Tuned::default() };
        fs::write(folder.path().join("config.toml"), config.to_toml().unwrap()).unwrap();

        let mut random = Random::new(0, Purpose::Test, u64::MAX >> 8);
        let labels: Vec<u8> = (0..images).map(|image| (image % classes.len()) as u8).collect();
        // Blocks of one colour: noise in every pixel would be larger than any photograph.
        let blocks: Vec<u8> = (0..images * 3 * 16).map(|_| random.bits() as u8).collect();
        let pixel = |at: usize| blocks[at / 1024 * 16 + at % 1024 / 256 * 4 + at % 32 / 8];
        let split = Split::new(labels, (0..images * SHAPE.len()).map(pixel).collect());
        let shape = config.data.shape;
        let images = Images::streamed(shape, classes.len() as u32, 1);
        let request =
            PlanRequest { network: &config.network, images, batch: 1, max_bytes: u64::MAX, fusion: Fusion::None };
        let mut guesser = Guesser { plan: request.inference().unwrap(), classes: classes.len() };
        let (evaluation, predictions) = evaluate(&mut guesser, &split, &mut || true).unwrap().unwrap();
        let mut metrics = vec![
            r#"{"event":"start","epochs":4,"batches":100,"step":0}"#.to_string(),
            r#"{"event":"done","steps":400,"seconds":12.5,"images_per_second":128.4,"weights_sha256":"00ff"}"#.into(),
        ];
        for step in (10..=400).step_by(10) {
            let (epoch, loss) = ((step - 1) / 100 + 1, 2.3 - f64::from(step) / 400.0);
            let batch = step - (epoch - 1) * 100;
            let event = Event::Loss { epoch, batch, step: step.into(), loss, lr: 0.001 };
            metrics.push(serde_json::to_string(&event).unwrap());
            if batch == 100 {
                let event = Event::Eval { epoch, step: step.into(), evaluation: evaluation.clone() };
                metrics.push(serde_json::to_string(&event).unwrap());
            }
        }
        fs::write(folder.path().join("metrics.jsonl"), metrics.join("\n")).unwrap();
        let tested = Tested {
            images: &split,
            shape: SHAPE,
            evaluation: &evaluation,
            predictions: &predictions,
            step: Some(400),
        };
        let run = Self { confusion: evaluation.confusion.clone(), folder };
        report::write(run.folder.path(), Some(&tested), &run.page()).unwrap();
        run
    }

    fn page(&self) -> PathBuf {
        self.folder.path().join(report::FILE)
    }
}

fn classes(number: usize) -> Vec<String> {
    (0..number).map(|class| format!("class {class}")).collect()
}

#[test]
fn a_cell_opens_its_images_and_a_curve_tells_its_values() {
    let run = Run::new(&classes(10), 2000);
    let mut page = Page::open(&run.page(), 1200);

    let confused = run.confusion[3][4];
    assert!(confused > 24, "{confused} images to choose from");
    page.click(".matrix [data-cell=\"3-4\"]");
    let title = page.evaluate("document.getElementById('behind-title').textContent");
    let start = format!("class 3 taken for class 4: {confused} of 200, ");
    assert!(title.as_str().unwrap().starts_with(&start), "{title}");
    let note = page.evaluate("document.getElementById('behind-note').textContent");
    assert!(note.as_str().unwrap().starts_with(&format!("24 of {confused} shown, ")), "{note}");
    assert_eq!(page.evaluate("document.querySelectorAll('#behind-tiles .tile').length"), 24);
    // The picture is there and can be decoded.
    let width = page.evaluate(
        "(async () => { const picture = new Image(); \
         picture.src = getComputedStyle(document.querySelector('#behind-tiles .tile')).backgroundImage.slice(5, -2); \
         await picture.decode(); return picture.naturalWidth; })()",
    );
    assert_eq!(width, 16 * 32);
    // The arrow keys go on from there, and Enter opens.
    page.press("ArrowLeft");
    assert_eq!(page.evaluate("document.activeElement.dataset.cell"), "3-3");
    page.evaluate("document.activeElement.click()");
    let title = page.evaluate("document.getElementById('behind-title').textContent");
    assert!(title.as_str().unwrap().starts_with("class 3, recognised: "), "{title}");
    page.click("#behind-back");
    assert_eq!(page.evaluate("document.querySelectorAll('#behind-tiles .tile').length"), 0);
    page.click("#frequent button");
    assert_eq!(page.evaluate("document.querySelectorAll('#behind-tiles .tile').length"), 24);

    let tip = "document.querySelector('#loss .tip').textContent";
    assert_eq!(page.evaluate("document.querySelector('#loss .tip').hidden"), true);
    // Where step 200 of 400 is, the axis and its labels at the left left out.
    page.point("#loss svg", 0.53, 0.5);
    let text = page.evaluate(tip);
    let text = text.as_str().unwrap();
    assert!(text.contains("epoch 2, batch 100: training loss 1.800"), "{text}");
    assert!(text.contains("after epoch 2: test loss "), "{text}");
    page.evaluate("document.getElementById('accuracy').focus()");
    page.press("End");
    let text = page.evaluate("document.querySelector('#accuracy [role=status]').textContent");
    assert!(text.as_str().unwrap().starts_with("after epoch 4: test accuracy "), "{text}");

    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn any_number_of_classes_fits_a_phone_and_names_are_only_text() {
    let mut names = classes(3);
    names[0] = "<script>document.title = 'hacked'</script>".into();
    names[1] = "</script></style><img src=x onerror=\"document.title='hacked'\"> a & b".into();
    names[2] = "a".repeat(300);
    for (names, images) in [(names, 300), (classes(10), 500), (classes(100), 10_000)] {
        let run = Run::new(&names, images);
        let bytes = fs::metadata(run.page()).unwrap().len();
        assert!(bytes < 4_000_000, "{} classes: {bytes} bytes", names.len());
        let mut page = Page::open(&run.page(), 390);
        assert_eq!(page.evaluate("document.documentElement.scrollWidth"), 390, "{} classes", names.len());
        assert_eq!(page.evaluate("document.title"), "lenet on pictures");
        page.click(".matrix [data-cell=\"0-0\"]");
        page.wait_for("document.querySelectorAll('#behind-tiles .tile').length > 0");
        let title = page.evaluate("document.getElementById('behind-title').textContent");
        assert!(title.as_str().unwrap().starts_with(&names[0]), "{title}");
        assert_eq!(page.evaluate("document.documentElement.scrollWidth"), 390, "{} classes, opened", names.len());
        // Nothing that can be pressed is too small for a finger, unless a hundred have to share the width.
        if names.len() <= 10 {
            let smallest = page.evaluate(
                "Math.min(...[...document.querySelectorAll('button:not([hidden])')].map((one) => one.getBoundingClientRect()) \
                 .filter((one) => one.width > 0).flatMap((one) => [one.width, one.height]))",
            );
            assert!(smallest.as_f64().unwrap() >= 24.0, "{smallest}");
        }
        let complaints = page.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}
