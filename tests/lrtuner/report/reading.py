"""Reading a page as a program would: its elements, tables and numbers."""

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Element:
    def __init__(self, tag, attributes, parent=None):
        self.tag, self.attributes, self.parent = tag, dict(attributes), parent
        self.children = []

    def get(self, name):
        return self.attributes.get(name)

    def walk(self):
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def all(self, *tags):
        return [found for found in self.walk() if found.tag in tags]

    @property
    def text(self):
        told = "".join(c.text if isinstance(c, Element) else c for c in self.children)
        return " ".join(told.split())

    @property
    def numbers(self):
        """Each number in it, as it is in full."""
        return [float(found.get("value")) for found in self.all("data")]


class Page(HTMLParser):
    """The tree of a page. What is opened must be closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.root = self.at = Element("", {})
        self.declaration = None
        self.feed(text)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is not closed"

    def handle_decl(self, decl):
        assert not self.root.children or not self.root.text
        self.declaration = decl

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> says something twice"
        new = Element(tag, attrs, self.at)
        self.at.children.append(new)
        if tag not in VOID:
            self.at = new

    def handle_startendtag(self, tag, attrs):
        self.at.children.append(Element(tag, attrs, self.at))

    def handle_endtag(self, tag):
        assert self.at.tag == tag, f"</{tag}> closes <{self.at.tag}>"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.children.append(data)

    def id(self, name):
        [found] = [each for each in self.root.walk() if each.get("id") == name]
        return found

    def has(self, name):
        return any(each.get("id") == name for each in self.root.walk())

    def rows(self, name):
        """The cells of the body of a table, as numbers where they are, else as text."""
        [body] = self.id(name).all("tbody")
        return [[value(cell) for cell in row.all("th", "td")] for row in body.all("tr")]


def value(cell):
    if cell.numbers:
        [number] = cell.numbers
        return number
    return None if cell.text == "\N{EN DASH}" else cell.text
