"""The report's page in a browser. Needs Debian's chromium and chromium-driver, and selenium."""

import json
import shutil
from types import SimpleNamespace

import pytest
from report_page import HOSTILE, build, found_in, full, page_in, row_of
from synthetic_results import change

from dp import paths
from dp.report import findings
from dp.results import runs

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install selenium)")
if not (BROWSER and DRIVER):
    pytest.skip("no chromium and chromedriver (apt-get install chromium chromium-driver)", allow_module_level=True)

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page, and one whose every free text is hostile."""
    found = SimpleNamespace()
    with pytest.MonkeyPatch.context() as patch:
        found.rows, found.path = page_in(tmp_path_factory.mktemp("report"), patch)
        found.hostile = _hostile(tmp_path_factory.mktemp("hostile"), patch)
    return found


def _hostile(root, patch):
    found, folder, made = found_in(root, patch, description=HOSTILE, seeds=[0])
    for path in sorted((root / paths.EVALUATE).rglob("record.json")):
        change(path, lambda record: record | {"made": record["made"] | {"labels": [HOSTILE.replace(";", "")]}})
    found = full(findings.find(found.study, runs.read(found.study)))
    for row in (*found.claims, *found.comparisons):
        row |= {"claim": HOSTILE, "reason": HOSTILE, "variant": HOSTILE, "task": HOSTILE, "test": HOSTILE}
    path = root / folder / "report.html"
    path.write_text(build.document(found, folder, made), encoding="utf-8", newline="\n")
    return path


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield found
    found.quit()


@pytest.fixture
def browser(chromium, pages):
    """The page, freshly opened."""
    opened(chromium, pages.path)
    return chromium


def opened(driver, path):
    width(driver, 1280)
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(path.as_uri())
    driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'")


def width(driver, pixels):
    size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def column(driver, table, name):
    """Texts of a column, as the page shows them now."""
    script = """
      const table = document.getElementById(arguments[0] + "-table");
      const at = Array.from(table.tHead.rows[0].cells, (th) => th.textContent).indexOf(arguments[1]);
      return Array.from(table.tBodies[0].rows, (tr) => tr.cells[at].textContent);"""
    return driver.execute_script(script, table, name)


def head(driver, table, name):
    path = f"//table[@id='{table}-table']//th[normalize-space()='{name}']"
    return driver.find_element(By.XPATH, path)


def count(driver, table):
    return driver.find_element(By.ID, f"{table}-count")


def filtering(driver, table, name):
    path = f"//div[@data-table='{table}']//label[starts-with(normalize-space(), '{name}')]//select"
    return Select(driver.find_element(By.XPATH, path))


def numbers(driver, table):
    return driver.find_elements(By.CSS_SELECTOR, f"#{table}-table td button")


def click(driver, element):
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def is_open(driver, name):
    return driver.execute_script("return document.getElementById(arguments[0]).open", name)


def test_it_loads_without_a_word_in_the_console_and_without_a_request(browser, pages):
    assert browser.get_log("browser") == []
    click(browser, numbers(browser, "results")[0])
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert pages.path.as_uri() in asked
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert [url for url in asked if url.startswith("file:")] == [pages.path.as_uri()]
    assert browser.get_log("browser") == []


def test_the_policy_stops_what_would_leave_the_page(browser):
    script = """
      const done = arguments[arguments.length - 1], found = [];
      addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
      const image = new Image();
      image.src = "https://example.invalid/x.png";
      const inline = document.createElement("script");
      inline.textContent = "window.hacked = 4";
      document.body.append(inline);
      const tell = () => done([found.sort(), window.hacked ?? null]);
      fetch("https://example.invalid/x").catch(() => setTimeout(tell, 100));"""
    directives, hacked = browser.execute_async_script(script)
    assert directives == ["connect-src", "img-src", "script-src-elem"]
    assert hacked is None


def test_numbers_sort_as_numbers_and_words_as_words(browser, pages):
    in_order = column(browser, "results", "mean, %")
    values = [float(f"{100 * row['mean']:.2f}") for row in pages.rows.results]
    assert [float(text) for text in in_order] == values
    assert values != sorted(values) and {len(str(int(value))) for value in values} == {2}
    for wanted, state in (
        (sorted(values), "ascending"),
        (sorted(values, reverse=True), "descending"),
        (values, "none"),
    ):
        click(browser, head(browser, "results", "mean, %").find_element(By.TAG_NAME, "button"))
        assert [float(text) for text in column(browser, "results", "mean, %")] == wanted
        assert head(browser, "results", "mean, %").get_attribute("aria-sort") == state
    click(browser, head(browser, "results", "variant").find_element(By.TAG_NAME, "button"))
    assert column(browser, "results", "variant") == sorted(row["variant"] for row in pages.rows.results)
    assert head(browser, "results", "mean, %").get_attribute("aria-sort") == "none"


def test_ten_comes_behind_nine_and_nothing_comes_last(browser):
    click(browser, head(browser, "claims", "difference").find_element(By.TAG_NAME, "button"))
    assert column(browser, "claims", "difference") == ["+23.50", "+24.50", "+25.50", "+26.50", "", "", ""]
    click(browser, head(browser, "claims", "difference").find_element(By.TAG_NAME, "button"))
    assert column(browser, "claims", "difference") == ["+26.50", "+25.50", "+24.50", "+23.50", "", "", ""]
    compared = """
      const down = comparing({at: 0, kind: "number"}, false);
      return ["10", "9.5", "−3", "1,024", "", "[2.00, 3.00]"].map((text) => ({values: [text]})).sort(down)
        .map((row) => row.values[0]);"""
    assert browser.execute_script(compared) == ["−3", "[2.00, 3.00]", "9.5", "10", "1,024", ""]


def test_filters_leave_exactly_the_rows_that_match_and_say_how_many(browser, pages):
    assert count(browser, "claims").get_attribute("aria-live") == "polite"
    filtering(browser, "claims", "verdict").select_by_visible_text("– not run")
    assert column(browser, "claims", "claim") == ["claim 4", "claim 6"]
    assert count(browser, "claims").text == "2 of 7 rows"
    browser.find_element(By.ID, "claims-search").send_keys("claim 6")
    assert column(browser, "claims", "claim") == ["claim 6"]
    for one in browser.find_elements(By.CSS_SELECTOR, "[data-table=claims] .tools button"):
        click(browser, one)
    assert count(browser, "claims").text == "7 of 7 rows"

    filtering(browser, "results", "task").select_by_visible_text("beta")
    filtering(browser, "results", "k").select_by_visible_text("8")
    wanted = [f"{100 * row['mean']:.2f}" for row in pages.rows.results if row["task"] == "beta" and row["k"] == 8]
    assert column(browser, "results", "mean, %") == wanted
    assert count(browser, "results").text == f"{len(wanted)} of {len(pages.rows.results)} rows"
    filtering(browser, "results", "k").select_by_visible_text("(none)")
    assert set(column(browser, "results", "k")) == {""}


def test_a_tile_of_the_verdict_shows_its_claims(browser):
    (tile,) = [one for one in browser.find_elements(By.CSS_SELECTOR, "a.tile") if "differs" in one.text]
    click(browser, tile)
    assert column(browser, "claims", "verdict") == ["✗ differs"]


def test_a_number_opens_its_runs_its_curve_and_its_commands(browser, pages):
    row = row_of(pages.rows, variant="adap_ins_pos", task="alpha", regime="full", metric="accuracy")
    line = 2 + pages.rows.results.index(row)
    number = browser.find_element(By.CSS_SELECTOR, f"#results-table tr[data-line='{line}'] td button")
    click(browser, number)
    panel = browser.find_element(By.ID, "lineage")
    assert is_open(browser, "lineage")
    assert browser.find_element(By.ID, "lineage-title").text == "adap_ins_pos on alpha: mean 97.00 %"
    table = [[cell.text for cell in tr.find_elements(By.TAG_NAME, "td")]
             for tr in panel.find_elements(By.CSS_SELECTOR, "tbody tr")]  # fmt: skip
    assert [texts[0] for texts in table] == ["seed0", "seed1"]
    assert [texts[1] for texts in table] == ["96.00", "98.00"]
    assert [texts[3:7] for texts in table] == [
        ["no", "80 of 120", f"1{n}.0", row["runs"].split(";")[n]] for n in (0, 1)
    ]
    of = "synthetic/tiny-t5/full/alpha/adap_ins_pos"
    assert [texts[7:] for texts in table] == [
        [f"results/evaluate/{of}/seed{n}", f"results/train/{of}/seed{n}"] for n in (0, 1)
    ]
    commands = [one.text for one in panel.find_elements(By.CSS_SELECTOR, ".command code")]
    files = " ".join(f"results/evaluate/{of}/seed{n}/metrics.json" for n in (0, 1))
    assert commands == [
        f"python -m dp why results/report/synthetic/results.csv:{line}",
        f"snakemake --cores all --config scale=synthetic -- {files}",
    ]
    curve = panel.find_element(By.CSS_SELECTOR, "svg.plot").get_attribute("aria-label")
    assert "from 50 at step 40 to 70 at step 120" in curve and "selected step 80 with 80" in curve
    assert len(panel.find_elements(By.CSS_SELECTOR, "polyline")) == 3
    assert "commit cccc" in panel.text and "fetch-backbone results/download/backbones/tiny-t5" in panel.text

    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not is_open(browser, "lineage")
    assert browser.switch_to.active_element == number


def test_a_number_of_two_cells_opens_each(browser):
    click(browser, numbers(browser, "comparisons")[0])
    names = browser.find_elements(By.CSS_SELECTOR, "#lineage summary")
    assert [name.text for name in names] == ["tiny-t5/full/beta/adap_pos", "tiny-t5/full/beta/fixed"]
    assert not browser.find_elements(By.CSS_SELECTOR, "#lineage tbody")
    click(browser, names[1])
    WebDriverWait(browser, 5).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "#lineage tbody"))
    assert "collapsed" in browser.find_element(By.ID, "lineage").text
    assert "results.csv" not in browser.find_element(By.CSS_SELECTOR, "#lineage .command").text


def test_a_number_of_a_grid_opens_the_same_as_its_row(browser, pages):
    spot = browser.find_element(By.CSS_SELECTOR, "table[data-of=results] td[data-line] button")
    line = spot.find_element(By.XPATH, "./ancestor::td").get_attribute("data-line")
    click(browser, spot)
    why = browser.find_element(By.CSS_SELECTOR, "#lineage .command").text
    assert f"results.csv:{line}" in why
    row = pages.rows.results[int(line) - 2]
    assert f"{100 * row['mean']:.2f}" in browser.find_element(By.ID, "lineage-title").text


def test_copy_takes_the_command_or_at_least_selects_it(browser):
    click(browser, numbers(browser, "results")[0])
    (button, *_) = browser.find_elements(By.CSS_SELECTOR, "#lineage .command button")
    text = browser.find_element(By.CSS_SELECTOR, "#lineage .command code").text
    browser.execute_script(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})"
    )
    click(browser, button)
    WebDriverWait(browser, 5).until(lambda driver: button.text == "Copied")
    assert browser.execute_script("return window.copied") == text


def test_without_a_clipboard_the_command_is_selected(browser):
    browser.execute_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    click(browser, numbers(browser, "results")[0])
    (button, *_) = browser.find_elements(By.CSS_SELECTOR, "#lineage .command button")
    click(browser, button)
    WebDriverWait(browser, 5).until(lambda driver: button.text == "Selected")
    assert browser.execute_script("return getSelection().toString().trim()").startswith("python -m dp why")


def test_the_keyboard_alone_is_enough(browser):
    def press(*keys):
        ActionChains(browser).send_keys(*keys).perform()
        return browser.switch_to.active_element

    assert press(Keys.TAB).text == "Skip to the verdict"
    for _ in range(200):
        one = press(Keys.TAB)
        if one.tag_name == "button" and one.get_attribute("aria-haspopup") == "dialog":
            break
    outline = "return getComputedStyle(arguments[0]).outlineStyle + getComputedStyle(arguments[0]).outlineWidth"
    assert browser.execute_script(outline, one) == "solid3px"
    press(Keys.ENTER)
    assert is_open(browser, "lineage")
    within = "return document.getElementById('lineage').contains(arguments[0]) || arguments[0] === document.body"
    assert all(browser.execute_script(within, press(Keys.TAB)) for _ in range(30))
    assert press(Keys.ESCAPE) == one
    (button,) = head(browser, "results", "mean, %").find_elements(By.TAG_NAME, "button")
    browser.execute_script("arguments[0].focus()", button)
    press(Keys.SPACE)
    assert head(browser, "results", "mean, %").get_attribute("aria-sort") == "ascending"


def test_light_and_dark_follow_the_system_and_the_button(browser):
    def dark():
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", "))) < 200

    def system(name):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]}
        )
        return dark()

    button = browser.find_element(By.CSS_SELECTOR, "header .theme")
    browser.execute_script("theme('auto')")
    assert (system("dark"), system("light")) == (True, False)
    for name, expected in (("light", (False, False)), ("dark", (True, True))):
        click(browser, button)
        assert button.text == f"Colours: {name}"
        assert (system("dark"), system("light")) == expected
    click(browser, button)
    assert button.text == "Colours: auto"


def test_figures_are_enlarged_turned_over_and_zoomed(browser):
    pictures = browser.find_elements(By.CSS_SELECTOR, ".gallery button")
    assert len(pictures) >= 3
    click(browser, pictures[0])
    assert is_open(browser, "zoom")

    def title():
        return browser.find_element(By.ID, "zoom-title").text

    def size():
        return browser.execute_script("return document.querySelector('#zoom img').getBoundingClientRect().width")

    def press(*keys):
        ActionChains(browser).send_keys(*keys).perform()

    first = title()
    WebDriverWait(browser, 5).until(lambda driver: size() > 50)
    press("0")
    fitted = size()
    press("+")
    assert size() == pytest.approx(1.5 * fitted, rel=0.01)
    press("-")
    assert size() == pytest.approx(fitted, rel=0.01)
    press(Keys.ARROW_RIGHT)
    assert title() != first
    press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    last = title()
    assert last not in (first, "")
    press(Keys.ESCAPE)
    assert not is_open(browser, "zoom")
    focused = "return document.activeElement.ariaLabel"  # set by an event that comes after the closing
    WebDriverWait(browser, 5).until(lambda driver: last in driver.execute_script(focused))


def test_hostile_text_is_shown_and_never_run(chromium, pages):
    opened(chromium, pages.hostile)
    assert chromium.get_log("browser") == []
    assert chromium.find_element(By.CSS_SELECTOR, ".description").text.startswith("<script>window.hacked = 1</script>")
    for table in ("results", "claims", "comparisons"):
        click(chromium, numbers(chromium, table)[0])
        assert "<img src=x" in chromium.find_element(By.ID, "lineage").text
        ActionChains(chromium).send_keys(Keys.ESCAPE).perform()
    spots = chromium.find_elements(By.CSS_SELECTOR, "table[data-of=claims] th[scope=row]")
    assert spots and all("<script>" in one.get_attribute("textContent") for one in spots)
    assert chromium.execute_script("return window.hacked ?? null") is None
    assert chromium.execute_script("return document.querySelectorAll('img:not([alt])').length") == 0
    assert chromium.execute_script("return getComputedStyle(document.querySelector('h1')).display") == "block"
    assert chromium.get_log("browser") == []


def test_every_control_has_a_name_and_every_id_is_its_own(browser):
    click(browser, numbers(browser, "results")[0])
    script = """
      const controls = document.querySelectorAll("button, select, input, summary, a, dialog, [role=region]");
      const nameless = [...controls].filter((one) =>
        !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length ||
          document.getElementById(one.getAttribute("aria-labelledby"))?.textContent.trim()) &&
        !(one.tagName === "DIALOG" && !one.open));
      const unlabelled = [...document.querySelectorAll("select, input")].filter((one) => one.labels.length !== 1);
      const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
      return [nameless.map((one) => one.outerHTML), unlabelled.length, ids.length - new Set(ids).size];"""
    assert browser.execute_script(script) == [[], 0, 0]


def test_a_long_table_is_shown_in_parts_and_searched_as_a_whole(browser):
    script = """
      const body = document.querySelector("#claims-table tbody"), row = body.rows[0];
      const holder = document.querySelector(".table[data-table=claims]").cloneNode(true);
      holder.dataset.table = "long";
      for (const made of holder.querySelectorAll(".tools, .below")) made.remove();
      const copy = holder.querySelector("tbody");
      copy.replaceChildren(...Array.from({length: 250}, (_, n) => {
        const tr = row.cloneNode(true);
        tr.cells[1].textContent = `row ${n}`;
        return tr;
      }));
      holder.querySelector("table").id = "long-table";
      document.querySelector("main").append(holder);
      enhance(holder);"""
    browser.execute_script(script)
    assert column(browser, "long", "claim") == [f"row {n}" for n in range(100)]
    assert count(browser, "long").text == "250 of 250 rows, 1 to 100 shown"
    back, following = browser.find_elements(By.CSS_SELECTOR, "[data-table=long] .below button")
    assert not back.is_enabled()
    click(browser, following)
    click(browser, following)
    assert column(browser, "long", "claim") == [f"row {n}" for n in range(200, 250)]
    assert not following.is_enabled()
    browser.find_element(By.ID, "long-search").send_keys("row 24")
    assert column(browser, "long", "claim") == [f"row {n}" for n in range(250) if "24" in str(n)]
    browser.find_element(By.ID, "long-search").clear()
    browser.find_element(By.ID, "long-search").send_keys("row")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert len(column(browser, "long", "claim")) == 250, "what a filter leaves, all of it"


def test_paper_holds_every_row_in_light_colours_and_no_controls(browser, pages):
    browser.execute_script("theme('dark'); dispatchEvent(new Event('beforeprint'))")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert len(column(browser, "results", "mean, %")) == len(pages.rows.results)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for selector in ("nav", ".tools", ".theme", "#lineage", "#zoom"):
        assert not browser.find_element(By.CSS_SELECTOR, selector).is_displayed()
    assert not browser.execute_script("return document.querySelectorAll('main details:not([open])').length")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_script("dispatchEvent(new Event('afterprint')); theme('auto')")
    assert browser.execute_script("return document.querySelectorAll('main details:not([open])').length")


def test_screenshots_are_kept_and_a_narrow_screen_does_not_scroll_sideways(browser, tmp_path):
    for pixels in (1280, 400):
        width(browser, pixels)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        picture = tmp_path / f"report-{pixels}.png"
        assert browser.save_screenshot(str(picture)) and picture.stat().st_size > 10_000
        print(picture)


def test_the_numbers_are_there_without_a_script(chromium, pages):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(chromium, pages.path)
        rows = chromium.find_elements(By.CSS_SELECTOR, "#results-table tbody tr")
        assert len(rows) == len(pages.rows.results)
        assert f"{100 * pages.rows.results[0]['mean']:.2f}" in rows[0].text
        assert not chromium.find_elements(By.CSS_SELECTOR, "th button, td button")
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
