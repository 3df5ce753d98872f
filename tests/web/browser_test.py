"""The page in a real browser: type, draw, look, download, with the keyboard and on a phone."""

import shutil
import time

import pytest
from PIL import Image

pytest.importorskip("gradio")
webdriver = pytest.importorskip("selenium.webdriver")
if not shutil.which("chromium") or not shutil.which("chromedriver"):
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)

By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

pytestmark = pytest.mark.slow
RED = "a small red bird with black wings"
PICTURES = ".pictures .grid-wrap img"
SIZES = {"desk": (1280, 900), "phone": (390, 844)}


def wait(condition, seconds=60):
    """The condition's value as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "It did not come in time."
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture(params=SIZES)
def page(request, browser, server):
    """The page, newly opened on a desk or a phone; a function that finds what is visible on it."""
    width, height = SIZES[request.param]
    device = {"deviceScaleFactor": 1, "mobile": request.param == "phone"}
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, **device}
    )
    browser.get(server[0])

    def visible(selector):
        return [e for e in browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    wait(lambda: visible("textarea"))
    return visible


def write(field, text):
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)


def test_a_sentence_is_drawn_with_the_keyboard_alone(browser, page):
    write(page("textarea")[0], RED)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    wait(lambda: len(page(PICTURES)) == 8)  # four of each stage
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    right = browser.execute_script("return innerWidth")
    assert all(each.rect["x"] + each.rect["width"] <= right for each in page(PICTURES))


def test_a_downloaded_picture_holds_its_sentence_and_seed(browser, page, downloads):
    write(page("textarea")[0], RED)
    page("button.primary")[0].click()
    wait(lambda: len(page(PICTURES)) == 8)
    before = set(downloads.iterdir())
    browser.execute_script("arguments[0].click()", page(PICTURES)[5])
    wait(lambda: page("button[aria-label=Download]"))[-1].click()
    done = lambda: {f for f in set(downloads.iterdir()) - before if f.suffix == ".png"}
    with Image.open(wait(done).pop()) as picture:
        assert picture.size == (64, 64)
        assert (picture.text["caption"], picture.text["seed"]) == (RED, "1")


def test_what_cannot_be_drawn_is_said_on_the_page(page):
    write(page("textarea")[0], "птица")
    page("button.primary")[0].click()
    wait(lambda: any("can read nothing" in each.text for each in page(".toast-body")))
