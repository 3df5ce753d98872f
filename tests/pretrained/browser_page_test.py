"""The page of docs/browser, in Chromium, draws what the model draws; with the keyboard alone."""

import functools
import http.server
import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stackgan_jax.training.gan import Noise

pytest.importorskip("onnx")
webdriver = pytest.importorskip("selenium.webdriver")
By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
if not shutil.which("chromium") or not shutil.which("chromedriver"):
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)
# The folder `dist` of the npm package onnxruntime-web.
RUNTIME = Path(os.environ.get("ONNXRUNTIME_WEB", "none"))
if not RUNTIME.is_dir():
    pytest.skip("ONNXRUNTIME_WEB names no folder", allow_module_level=True)

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "browser"
RED = "a small red bird with black wings"
PIXELS = """
return [...document.querySelectorAll("canvas")].map((canvas) => [...canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data]);
"""


@pytest.fixture(scope="module")
def site(model, tmp_path_factory):
    """The page's folder with a model."""
    folder = tmp_path_factory.mktemp("browser") / "page"
    shutil.copytree(PAGE, folder)
    (folder / "ort").symlink_to(RUNTIME.absolute())
    model.export(folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desk", "phone"])
def page(request, browser, address):
    """The page, newly opened and ready."""
    width, height = request.param
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    wait_for(browser, "press Enter")
    return browser


def wait_for(browser, words, seconds=120):
    """Waits until the page says something."""
    end = time.monotonic() + seconds
    while words not in (said := browser.find_element(By.CSS_SELECTOR, "[role=status]").text):
        assert time.monotonic() < end and "can't" not in said, said
        time.sleep(0.1)


def write(browser, sentence):
    """Writes a sentence and presses Enter; the page has put the cursor into its field."""
    field = browser.switch_to.active_element
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(sentence, Keys.ENTER)


def test_it_draws_what_the_model_draws_of_the_same_noise(page, model, site):
    write(page, RED)
    wait_for(page, f"Drawn: {RED}")
    about = json.loads((site / "model.json").read_text(encoding="utf-8"))
    widths = range(len(about["noise"]))
    script = "return noise(arguments[0], 1).map((each) => [...each])"
    z, *epsilons = (np.float32(page.execute_script(script, about)[i])[None] for i in widths)
    assert all(np.abs(each).max() <= 2 * about["epsilon_scale"] for each in epsilons)
    drawn = model.sampler.draw(model.embed(RED), Noise(z, tuple(epsilons)))
    canvases = page.execute_script(PIXELS)
    assert len(canvases) == 2 * 4  # Stages and pictures.
    for pixels, expected in zip(canvases[2:4], drawn.values(), strict=True):
        picture = np.reshape(pixels, (*expected.shape[1:3], 4))[..., :3]
        assert np.abs(picture - np.round((np.asarray(expected)[0] + 1) * 127.5)).max() <= 1


def test_it_is_as_wide_as_the_screen(page):
    write(page, RED)
    wait_for(page, f"Drawn: {RED}")
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_a_sentence_that_it_cannot_read_is_said_so(page):
    write(page, "птица")
    wait_for(page, "can read nothing")
    assert not page.find_elements(By.CSS_SELECTOR, "canvas")
