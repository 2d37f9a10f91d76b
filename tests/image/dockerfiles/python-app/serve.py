"""A page from a template, over HTTP or on standard output."""

import http.server
import pathlib

import click
import jinja2

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def page(name: str) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES))
    return environment.get_template("hello.txt").render(name=name)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page(self.path.lstrip("/") or "world").encode())


@click.command()
@click.option("--check", is_flag=True, help="Render a page and exit.")
@click.option("--port", default=8000)
def main(check: bool, port: int) -> None:
    """Serve pages."""
    if check:
        click.echo(page("check"))
        return
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
