"""The page in a real browser, opened from disk: clicks, filters, both themes, a phone's width, hostile names."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from reported import CLASSES, draw, rows_of, write_run

from lightning_tl.report.page import write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

EVIL = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "new\nline \x1b[31m",
    "__proto__",
    "x" * 255,
]
MARKED = "#matrix td[aria-selected='true']"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1200,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page about one run with Grad-CAM pictures, one about two, one whose names are hostile, one of many classes."""
    folder = tmp_path_factory.mktemp("pages")
    rows = [*rows_of(each=20), *rows_of(each=3, split="test")]
    rows = [(split, f"{split}/{path}", *rest) for split, path, *rest in rows]  # type: ignore[misc]
    root = draw(folder / "images", [row[1] for row in rows])
    run = write_run(folder / "run", rows, root=root, test={"split": "val"})
    (run / "pictures").mkdir()
    mistakes = [number for number, row in enumerate(rows) if row[2] != row[3]]
    for number in mistakes:
        Image.new("RGB", (48, 40), "red").save(run / "pictures" / f"{number}.jpg")
    Image.new("RGB", (300, 200), "blue").save(run / "pictures" / "augmented.jpg")
    augmented = {"file": "augmented.jpg", "rows": [0, 20], "columns": ["original", "epoch 0"]}
    listed = {"gradcam": {str(number): f"{number}.jpg" for number in mistakes}, "augmented": augmented}
    (run / "pictures" / "pictures.json").write_text(json.dumps(listed))
    swapped = [(s, p, t, CLASSES[0] if t == CLASSES[1] else y, c) for s, p, t, y, c in rows]
    keras = write_run(folder / "keras", swapped, root=root, framework="keras-jax", test={"split": "val"})
    evil = write_run(folder / "<b>evil & co", rows_of(EVIL, each=4), EVIL)
    many = [f"class {number}" for number in range(100)]
    big = write_run(folder / "big", rows_of(many, each=5), many)
    made = {"one": [run], "two": [run, keras], "evil": [evil], "many": [big]}
    return {name: write_report(runs, folder / f"{name} <page>.html") for name, runs in made.items()}


def visit(browser: Any, path: Path, width: int = 1200) -> None:
    """Open a page from disk; what the browser logged before is dropped."""
    browser.set_window_size(width, 900)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    emulate(browser)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(path.as_uri())


def emulate(browser: Any, scheme: str = "light") -> None:
    """What the system prefers; without motion, so that a click meets what it aims at."""
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def check_quiet(browser: Any, path: Path) -> None:
    """Nothing on the console, and no request but for the page itself and pictures inside it."""
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    # what the browser's own first page still loads is not ours
    requests = [one["request"]["url"] for one in sent if not one["documentURL"].startswith("chrome:")]
    assert path.as_uri() in requests, "the log works"
    assert {url for url in requests if not url.startswith("data:image/jpeg;base64,")} == {path.as_uri()}


def texts(browser: Any, selector: str) -> list[str]:
    return [part.text for part in browser.find_elements(By.CSS_SELECTOR, selector)]


def shown_probabilities(browser: Any) -> list[float]:
    """Of the predicted class, in the order of the cards, in percent."""
    return [float(text.rstrip("%\u202f")) for text in texts(browser, ".cards .said:last-of-type .value")]


def choose(browser: Any, key: str, words: str) -> None:
    Select(browser.find_element(By.ID, f"filter-{key}")).select_by_visible_text(words)


def cell(browser: Any, real: int, predicted: int) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f"td[data-real='{real}'][data-predicted='{predicted}']")


@pytest.mark.parametrize("name", ["one", "two", "evil", "many"])
def test_a_page_opens_from_disk_without_a_word_or_a_request(browser: Any, pages: dict[str, Path], name: str) -> None:
    visit(browser, pages[name])
    assert len(texts(browser, "section")) >= 9
    browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    check_quiet(browser, pages[name])


def test_every_picture_is_drawn(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["one"])
    script = (
        "const done = arguments[0]; for (const i of document.images) i.loading = 'eager';"
        "Promise.all([...document.images].map(i => i.decode().then(() => [i.naturalWidth, i.alt])))"
        ".then(done, e => done(String(e)))"
    )
    drawn = browser.execute_async_script(script)
    assert [48, "true daisy, predicted rose"] in drawn
    assert [48, "Grad-CAM for rose"] in drawn
    assert any(width == 300 and "Augmented" in words for width, words in drawn)


def test_a_click_on_a_cell_shows_its_images(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["one"])
    target = cell(browser, 0, 0)
    assert target.text.splitlines() == ["19", "95.0 %".replace(" ", "\u202f")]
    target.click()
    assert target.get_attribute("aria-selected") == "true"
    assert texts(browser, "#gallery-status") == ["19 images; 19 shown."]
    cards = texts(browser, ".cards li")
    assert len(cards) == 19
    assert all("true\ndaisy\npredicted ✓" in card and "val: val/daisy/" in card for card in cards)
    assert Select(browser.find_element(By.ID, "filter-split")).first_selected_option.text == "val"
    browser.find_element(By.ID, "filter-clear").click()
    assert texts(browser, "td[aria-selected]") == []
    assert texts(browser, "#gallery-status") == ["69 images; 48 shown."]
    browser.find_element(By.ID, "gallery-more").click()
    assert len(texts(browser, ".cards li")) == 69
    assert not browser.find_element(By.ID, "gallery-more").is_displayed()


def test_the_matrix_is_worked_by_keys_alone(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["one"])
    cell(browser, 0, 0).send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element == cell(browser, 0, 1)
    tip = browser.find_element(By.ID, "tip")
    assert tip.text.splitlines() == ["true daisy, predicted rose", "1 of 20, 5.0\u202f%"]
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert texts(browser, "#gallery-status") == ["1 image; 1 shown."]
    browser.find_elements(By.CSS_SELECTOR, "#matrix .group button")[1].click()
    assert cell(browser, 0, 1).text.splitlines() == ["5.0\u202f%", "1"]


def test_the_chosen_cell_and_the_focus_outlast_another_view(browser: Any, pages: dict[str, Path]) -> None:
    def select(name: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, f"#matrix select[name='{name}']")

    def selected() -> list[str]:
        return [one.get_attribute("data-tip").splitlines()[0] for one in browser.find_elements(By.CSS_SELECTOR, MARKED)]

    visit(browser, pages["two"])
    cell(browser, 1, 2).click()
    browser.find_elements(By.CSS_SELECTOR, "#matrix .group button")[1].click()
    assert selected() == ["true rose, predicted tulip"]
    for name, words, marked in (
        ("split", "test", []),  # of which the gallery shows nothing
        ("split", "val", ["true rose, predicted tulip"]),
        ("run", "keras", []),
        ("run", "run", ["true rose, predicted tulip"]),
    ):
        browser.execute_script("arguments[0].focus()", select(name))
        select(name).send_keys(words[0])
        assert Select(select(name)).first_selected_option.text == words
        assert browser.switch_to.active_element == select(name)
        assert selected() == marked
    browser.find_element(By.ID, "filter-clear").click()
    browser.find_elements(By.CSS_SELECTOR, "#matrix .group button")[0].click()
    assert selected() == []


def test_a_cells_figure_is_dark_on_light_and_light_on_dark(browser: Any, pages: dict[str, Path]) -> None:
    """The hits of ``one`` are 95 % of their class, its mistakes 22 % in the steeper scale."""
    script = "const style = getComputedStyle(arguments[0]); return style.color"
    visit(browser, pages["one"])
    for scheme, hit, mistake in (
        ("light", "rgb(255, 255, 255)", "rgb(28, 33, 38)"),
        ("dark", "rgb(13, 16, 19)", "rgb(231, 233, 235)"),
    ):
        emulate(browser, scheme)
        assert browser.execute_script(script, cell(browser, 0, 0)) == hit
        assert browser.execute_script(script, cell(browser, 0, 1)) == mistake


def test_filters_and_orders_of_the_gallery(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["one"])
    shares = shown_probabilities(browser)
    assert len(texts(browser, ".cards li")) == 6
    assert shares == sorted(shares, reverse=True)
    browser.find_element(By.ID, "show-hits").click()
    values = shown_probabilities(browser)
    assert len(values) == 48
    assert values == sorted(values)
    choose(browser, "split", "test")
    assert texts(browser, "#gallery-status") == ["6 images; 6 shown."]
    choose(browser, "real", "tulip")
    assert texts(browser, "#gallery-status") == ["2 images; 2 shown."]
    choose(browser, "kind", "mistakes")
    choose(browser, "predicted", "daisy")
    assert [text.splitlines()[-1] for text in texts(browser, ".cards li")] == ["test: test/tulip/2.png"]
    choose(browser, "predicted", "rose")
    assert texts(browser, "#gallery-status") == ["0 images; 0 shown."]
    browser.find_element(By.ID, "filter-clear").click()
    choose(browser, "sort", "file name")
    assert texts(browser, ".cards li:first-child p") == ["test: test/daisy/0.png"]
    check_quiet(browser, pages["one"])


def test_two_runs_side_by_side(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["two"])
    assert "The difference is more than noise" in texts(browser, ".verdict")[0]
    browser.find_element(By.ID, "show-disputed").click()
    assert texts(browser, "#gallery-status") == ["23 images; 23 shown."]
    first = texts(browser, ".cards li")[0]
    assert "run" in first
    assert "keras" in first
    choose(browser, "run", "keras")
    choose(browser, "kind", "mistakes")
    assert texts(browser, "#gallery-status") == ["27 images; 27 shown."]
    Select(browser.find_element(By.CSS_SELECTOR, "#matrix select")).select_by_visible_text("keras")
    assert cell(browser, 1, 0).text.splitlines()[0] == "20"
    cell(browser, 1, 0).click()
    assert texts(browser, "#gallery-status") == ["20 images; 20 shown."]
    assert Select(browser.find_element(By.ID, "filter-run")).first_selected_option.text == "keras"


def test_tables_are_sorted_by_their_heads(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["two"])
    (head,) = [
        b
        for b in browser.find_elements(By.CSS_SELECTOR, "#classes > .scroll thead button")
        if b.text == "recall, keras"
    ]
    head.click()
    column = "#classes > .scroll tbody td:nth-of-type(4)"
    down = texts(browser, column)
    head.click()
    assert texts(browser, column) == down[::-1]
    assert down[-1].startswith("0.00")


def test_the_theme_follows_the_system_and_the_button(browser: Any, pages: dict[str, Path]) -> None:
    def background() -> str:
        return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))

    seen = []
    for system in ("light", "dark"):
        visit(browser, pages["one"])
        emulate(browser, system)
        seen.append(background())
        browser.find_element(By.ID, "theme").click()
        seen.append(background())
        assert texts(browser, "#theme") == [system.capitalize()], "what a click would bring back"
    assert seen == ["rgb(247, 247, 245)", "rgb(19, 22, 25)", "rgb(19, 22, 25)", "rgb(247, 247, 245)"]


@pytest.mark.parametrize("name", ["one", "two", "evil", "many"])
def test_a_phone_scrolls_down_alone(browser: Any, pages: dict[str, Path], name: str) -> None:
    visit(browser, pages[name], width=360)
    widths = browser.execute_script(
        "return [innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
    )
    assert widths[0] == 360
    assert max(widths) == 360
    wide = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 361 "
        "&& !e.closest('.scroll')).map(e => e.outerHTML.slice(0, 200))"
    )
    assert wide == []


def test_hostile_names_are_shown_as_text(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["evil"])
    browser.find_element(By.ID, "filter-clear").click()
    body = browser.find_element(By.TAG_NAME, "body").text
    assert all(name in body for name in ("<b>evil & co", *EVIL[:2], r"new\nline \x1b[31m", "__proto__", "x" * 255))
    assert browser.execute_script("return document.scripts.length") == 2
    assert browser.title.startswith("<b>evil & co")
    assert browser.execute_script("return document.querySelectorAll('main img[onerror], main b b').length") == 0
    cell(browser, 0, 1).click()
    assert texts(browser, "#gallery-status") == ["1 image; 1 shown."]
    check_quiet(browser, pages["evil"])


def test_a_matrix_of_a_hundred_classes_is_usable(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["many"])
    assert len(browser.find_elements(By.CSS_SELECTOR, ".matrix td")) == 10_000
    target = cell(browser, 41, 42)
    box = target.rect
    assert min(box["width"], box["height"]) >= 12
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", target)
    target.click()
    assert texts(browser, "#gallery-status") == ["1 image; 1 shown."]
    assert "true\n" in texts(browser, ".cards li")[0]


def test_charts_tell_their_values(browser: Any, pages: dict[str, Path]) -> None:
    visit(browser, pages["one"])
    band = browser.find_element(By.CSS_SELECTOR, "#curves svg .hit")
    browser.execute_script("arguments[0].focus()", band)
    tip = browser.find_element(By.ID, "tip")
    assert tip.text.splitlines() == ["epoch 1 (head)", "validation 0.4000", "training 0.4500"]
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert tip.text.splitlines()[0] == "epoch 2 (head)"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
