"""The page: complete, self-contained, about the variant it is given, and shown by a real browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, likelihoods, networks, posteriors, priors, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """What a page holds: sections with their text, images, addresses; and that its tags are closed."""

    def __init__(self, path):
        super().__init__()
        self.text, self.sections, self.images, self.loads, self.links, self.tags = "", {}, [], [], [], set()
        self.open, self.section = [], None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = found["id"]
            self.sections[self.section] = ""
        if tag == "img":
            self.images.append((self.section, found))
        self.loads += [value for name, value in attributes if name in ("src", "srcset", "data", "poster")]
        if tag == "link":
            self.loads.append(found["href"])
        if tag == "a":
            self.links.append(found["href"])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, text):
        if self.section is not None and self.open[-1] not in ("style", "title"):
            self.sections[self.section] += text


def make(prior=None, size=2, likelihood=None):
    return pv.VAE(
        priors.StandardNormal(size) if prior is None else prior,
        likelihoods.ContinuousBernoulli((1, 8, 8)) if likelihood is None else likelihood,
        encoder=networks.MLP([16]),
    )


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def written(digits, tmp_path_factory):
    variant = make()
    history = pv.fit(variant, digits, epochs=2)
    path = tmp_path_factory.mktemp("report") / "page.html"
    state = torch.get_rng_state()
    assert report.write(variant, digits, path, history, num_samples=20, max_data=50) == path
    assert torch.equal(state, torch.get_rng_state())
    return path


def test_the_page_is_whole(written):
    page = Page(written)
    wanted = (
        "numbers story ledger training samples reconstructions interpolation latent manifold histograms kl active "
        "information aggregate guide replicated data making"
    )
    assert list(page.sections) == wanted.split()
    assert [link for link in page.links if link.startswith("#")] == [f"#{name}" for name in page.sections]
    assert len(page.images) == 15
    for section, image in page.images:
        assert image["alt"], section
        assert int(image["width"]) > 100


def test_the_page_loads_nothing(written):
    page = Page(written)
    assert page.loads
    assert all(address.startswith("data:") for address in page.loads)
    assert not page.tags & {"script", "iframe", "object", "embed"}
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_numbers_are_those_of_the_variant(written, digits):
    page = Page(written)
    text = page.sections["numbers"]
    for word in ("ELBO", "reconstruction", "KL", "log p(x)", "270 test data of digits", "20 draws", "50 of the 270"):
        assert word in text
    assert "1,257" in page.sections["data"]
    assert pv.__version__ in page.sections["making"]
    assert torch.__version__ in page.sections["making"]
    assert "StandardNormal" in page.sections["making"]


def test_a_swapped_prior_changes_the_page(written, digits, tmp_path):
    path = report.write(make(priors.Vamp(2, components=5)), digits, tmp_path / "page.html", num_samples=5, max_data=5)
    before, after = Page(written), Page(path)
    assert "at 5 learned pseudo-inputs" in after.sections["story"]
    assert "pseudo-inputs" not in before.sections["story"]
    pictures = [{section: image["src"] for section, image in page.images} for page in (before, after)]
    assert all(pictures[0][name] != pictures[1][name] for name in ("samples", "latent", "manifold", "kl"))
    assert "training" not in after.sections  # there was no history


def test_an_autoencoder_says_why_there_are_no_samples(digits, tmp_path):
    variant = pv.Autoencoder(3, likelihoods.ContinuousBernoulli((1, 8, 8)))
    page = Page(report.write(variant, digits, tmp_path / "page.html"))
    drawn = {section for section, _ in page.images}
    assert "samples" not in drawn
    assert "There is no p(z) to draw from" in page.sections["samples"]
    assert {"reconstructions", "interpolation", "latent", "traversal", "histograms"} <= drawn
    assert "log p(x) cannot be estimated" in page.sections["numbers"]
    assert "There is no p(z) to draw from" in page.sections["aggregate"]
    assert "have no density" in page.sections["guide"]
    assert {"active", "replicated"} <= drawn
    assert "KL" not in page.sections["numbers"].replace("no KL", "")


@pytest.mark.parametrize("name", ["diabetes", "wine"])
def test_tables(name, tmp_path):
    dataset = data.load(name)
    variant = pv.VAE(priors.Flow(3), likelihoods.Normal(dataset.shape), posteriors.FullCovarianceNormal())
    page = Page(report.write(variant, dataset, tmp_path / "page.html", num_samples=5))
    assert "traversal" in {section for section, _ in page.images}
    assert "in all" in page.sections["kl"] or page.images


def test_plain_tensors_and_hostile_text(tmp_path):
    path = tmp_path / "page.html"
    report.write(make(), torch.rand(7, 1, 8, 8), path, configuration="<script>alert('&')</script>", num_samples=5)
    page = Page(path)
    assert "script" not in page.tags
    assert "<script>alert('&')" in page.sections["making"]
    assert "7 data" in page.sections["numbers"]


def test_errors(digits, tmp_path):
    with pytest.raises(pv.DataError):
        report.write(make(), torch.zeros(0, 1, 8, 8), tmp_path / "page.html")
    with pytest.raises(pv.DataError):
        report.write(make(), data.load("wine"), tmp_path / "page.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(pv.CheckpointError, match="cannot write into folder"):
        report.write(make(), digits, tmp_path / "file" / "page.html", num_samples=5, max_data=5)


def test_numbers_have_the_standard_error_of_a_mean(digits):
    variant = make()
    x = digits.test.x[:100]
    found = report.numbers(variant, x, num_samples=30)
    again = report.numbers(variant, x, num_samples=30)
    assert found.rows == again.rows
    rows = found.rows
    assert rows["elbo"].mean == pytest.approx(rows["reconstruction"].mean - rows["kl"].mean, abs=1e-3)
    exact = pv.evaluation.elbo(variant, x).kl
    assert rows["kl"].mean == pytest.approx(exact.mean().item(), rel=1e-5)
    assert rows["kl"].standard_error == pytest.approx(exact.std().item() / 10, rel=1e-5)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize("width", [1400, 390])
def test_a_browser_shows_every_picture(written, tmp_path, width):
    """In a frame of the given width: pictures have a size, and nothing is wider than the page."""
    probe = """<script>addEventListener("load", () => {
      const root = document.documentElement, images = [...document.images];
      document.title = JSON.stringify({
        sizes: images.map(i => [i.naturalWidth, i.naturalHeight, i.clientWidth]),
        overflow: root.scrollWidth - root.clientWidth, width: root.clientWidth,
        contents: document.querySelectorAll("nav a").length });
    })</script></body>"""
    inner, outer = tmp_path / "inner.html", tmp_path / "outer.html"
    inner.write_text(written.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    # a window cannot be as narrow as a telephone, a frame can
    outer.write_text(
        f'<iframe id="f" src="{inner.as_uri()}" style="width:{width}px;height:900px;border:0"></iframe><p id="p"></p>'
        '<script>addEventListener("load", () => setTimeout(() => '
        "{ p.textContent = f.contentDocument.title }, 300))</script>"
    )
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,1000", "--virtual-time-budget=5000"]
    done = subprocess.run([*command, "--dump-dom", outer.as_uri()], capture_output=True, text=True, timeout=60)
    found = re.search(r'<p id="p">(\{.*?\})</p>', done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    told = json.loads(found[1])
    assert told["width"] == width
    assert told["overflow"] <= 0
    assert len(told["sizes"]) == 13
    assert all(size > 0 for sizes in told["sizes"] for size in sizes)
    assert told["contents"] == 17
