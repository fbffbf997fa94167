"""A fake iTerm2: its API's real protocol, with sessions that are real processes on real terminals.

Started by the rig (`fake_iterm2.rs`), in an environment that contains the app's own client library. The fake uses the
message classes of that library, so a field that we number wrongly fails here. Windows, tabs and splits exist only as
data; the screen of a session is the bytes that it printed.

Listens at the path of the real app's socket below HOME. Accepts one connection for each line of HOME/cookies.
Reads commands as JSON lines from stdin, and answers each by one line. Quits when stdin ends.
"""

import argparse
import asyncio
import fcntl
import http
import json
import os
import pty
import shlex
import signal
import struct
import sys
import termios
import uuid

from iterm2 import api_pb2 as api
from websockets.asyncio.server import unix_serve
from websockets.exceptions import ConnectionClosed

HOME = os.environ["HOME"]


class Session:
    def __init__(self, app, profile, size):
        self.app = app
        self.profile = profile
        self.size = size
        self.id = str(uuid.uuid4()).upper()
        self.name = profile.get("Name", "Default")
        self.user = {}
        self.printed = b""
        self.ended = False

    def start(self):
        if self.profile.get("Custom Command") == "Yes":
            words = shlex.split(self.profile["Command"])
        else:
            words = ["sleep", "600"]
        # The app's own environment, not that of any shell.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        environment.update(TERM="xterm-256color", TERM_PROGRAM="iTerm.app", ITERM_SESSION_ID=f"w0t0p0:{self.id}")
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(self.profile.get("Working Directory", HOME))
                os.execvpe(words[0], words, environment)
            finally:
                os._exit(127)
        os.set_blocking(self.master, False)
        # Otherwise sessions that start later would inherit the descriptor and keep the terminal open.
        os.set_inheritable(self.master, False)
        self.resize(self.size)
        self.app.loop.add_reader(self.master, self.read)

    def resize(self, size):
        self.size = size
        if not self.ended:
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def read(self):
        try:
            some = os.read(self.master, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            some = b""
        self.printed += some
        if not some:
            self.hang_up()
            if self.profile.get("Close Sessions On End", 1) == 1:
                self.app.remove(self)

    def hang_up(self):
        """Closes the session's terminal. The kernel then sends SIGHUP to the processes in it."""
        if not self.ended:
            self.ended = True
            self.app.loop.remove_reader(self.master)
            os.close(self.master)

    def variables(self):
        fixed = {
            "session.id": self.id,
            "session.name": self.name,
            "session.pid": self.pid,
            "session.jobPid": self.pid,
            "session.columns": self.size[0],
            "session.rows": self.size[1],
        }
        short = {name.removeprefix("session."): value for name, value in fixed.items()}
        return {**fixed, **short, **self.user}

    def summarise(self, summary):
        summary.unique_identifier = self.id
        summary.title = self.name
        for point in (summary.frame.origin, summary.frame.size):
            point.SetInParent()
        summary.grid_size.width, summary.grid_size.height = self.size


class Tab:
    """`tree` is a session, or a pair: whether the divider is vertical, and the list of the trees that it divides."""

    def __init__(self, number, session):
        self.id = str(number)
        self.size = session.size
        self.tree = session
        self.active = session

    def sessions(self):
        def leaves(tree):
            return [tree] if isinstance(tree, Session) else [leaf for side in tree[1] for leaf in leaves(side)]

        return leaves(self.tree)

    def change(self, session, put):
        """Replaces a session by the tree `put`; with None, the other sides of its divider get the session's space."""

        def changed(tree):
            if tree is session:
                return put
            if isinstance(tree, Session):
                return tree
            sides = [side for side in map(changed, tree[1]) if side is not None]
            return (tree[0], sides) if len(sides) > 1 else sides[0]

        self.tree = changed(self.tree)
        if self.tree is not None:
            self.lay_out(self.tree, self.size)

    def lay_out(self, tree, size):
        """Gives all sides the same size; a divider of one column or row separates each two."""
        if isinstance(tree, Session):
            tree.resize(size)
            return
        vertical, sides = tree
        columns, rows = size
        if vertical:
            columns = (columns - len(sides) + 1) // len(sides)
        else:
            rows = (rows - len(sides) + 1) // len(sides)
        for side in sides:
            self.lay_out(side, (columns, rows))

    def fill(self, node):
        def link(tree, node):
            if isinstance(tree, Session):
                tree.summarise(node.links.add().session)
                return
            node.vertical = tree[0]
            for side in tree[1]:
                if isinstance(side, Session):
                    side.summarise(node.links.add().session)
                else:
                    link(side, node.links.add().node)

        link(self.tree, node)


class Window:
    def __init__(self, number):
        self.id = f"pty-{uuid.uuid4()}"
        self.number = number
        self.tabs = []
        self.shown = None


class App:
    def __init__(self, options):
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.windows = []
        self.made = 0
        self.asked = []
        self.forward = 0

    def sessions(self):
        return [session for window in self.windows for tab in window.tabs for session in tab.sessions()]

    def find(self, id):
        return next((session for session in self.sessions() if session.id == id), None)

    def around(self, session):
        every = ((window, tab) for window in self.windows for tab in window.tabs)
        return next((window, tab) for window, tab in every if session in tab.sessions())

    def new_tab(self, profile, window=None, select=True):
        if window is None:
            window = Window(len(self.windows))
            self.windows.append(window)
        session = Session(self, profile, (self.options.columns, self.options.rows))
        self.made += 1
        tab = Tab(self.made, session)
        window.tabs.append(tab)
        if select or window.shown is None:
            window.shown = tab
        session.start()
        return window, tab, session

    def split(self, session, vertical, before, profile):
        """Returns the new session, or None if half of the session would be too small."""
        columns, rows = session.size
        half = ((columns - 1) // 2, rows) if vertical else (columns, (rows - 1) // 2)
        if half[0] < self.options.least_columns or half[1] < self.options.least_rows:
            return None
        new = Session(self, profile, half)
        _, tab = self.around(session)
        new.start()
        tab.change(session, (vertical, [new, session] if before else [session, new]))
        tab.active = new
        return new

    def remove(self, session):
        window, tab = self.around(session)
        tab.change(session, None)
        session.hang_up()
        if tab.tree is None:
            window.tabs.remove(tab)
            if not window.tabs:
                self.windows.remove(window)
            elif window.shown is tab:
                window.shown = window.tabs[0]
            return
        if tab.active is session:
            tab.active = tab.sessions()[0]

    def state(self):
        def tab(tab):
            return {"id": tab.id, "active": tab.active.id, "sessions": [session(one) for one in tab.sessions()]}

        def session(one):
            return {
                "id": one.id,
                "name": one.name,
                "pid": one.pid,
                "ended": one.ended,
                "size": one.size,
                "profile": one.profile,
                "user": one.user,
            }

        return [
            {"id": window.id, "shown": window.shown.id, "tabs": [tab(one) for one in window.tabs]}
            for window in self.windows
        ]

    def command(self, command):
        """Executes a command of the test: a query, or an action of the user."""
        session = self.find(command["session"]) if "session" in command else None
        match command["do"]:
            case "state":
                return {"windows": self.state(), "asked": self.asked, "forward": self.forward}
            case "screen":
                return session.printed.decode(errors="replace")
            case "close":
                self.remove(session)
            case "run":
                # The user starts a program in the session of a worker that has ended.
                session.hang_up()
                session.ended = False
                session.profile["Command"] = "sleep 601"
                session.start()
        return True


def statuses(message):
    return message.Status.Value


class Answers:
    """One method for each kind of request; `q` is the request, `r` the response."""

    def __init__(self, app):
        self.app = app

    def list_sessions_request(self, q, r):
        r = r.list_sessions_response
        r.SetInParent()
        for window in self.app.windows:
            listed = r.windows.add(window_id=window.id, number=window.number)
            for point in (listed.frame.origin, listed.frame.size):
                point.SetInParent()
            for tab in window.tabs:
                tab.fill(listed.tabs.add(tab_id=tab.id, tmux_window_id="-1").root)

    def split_pane_request(self, q, r):
        r, status = r.split_pane_response, statuses(api.SplitPaneResponse)
        session = self.app.find(q.session)
        if session is None:
            r.status = status("SESSION_NOT_FOUND")
            return
        vertical = q.split_direction == api.SplitPaneRequest.SplitDirection.Value("VERTICAL")
        new = self.app.split(session, vertical, q.before, profile(q.custom_profile_properties))
        if new is None:
            r.status = status("CANNOT_SPLIT")
            return
        r.status = status("OK")
        r.session_id.append(new.id)

    def create_tab_request(self, q, r):
        r, status = r.create_tab_response, statuses(api.CreateTabResponse)
        window = next((window for window in self.app.windows if window.id == q.window_id), None)
        if q.window_id and window is None:
            r.status = status("INVALID_WINDOW_ID")
            return
        select = q.select_tab or not q.HasField("select_tab") or self.app.options.old
        window, tab, session = self.app.new_tab(profile(q.custom_profile_properties), window, select)
        r.status = status("OK")
        r.window_id, r.tab_id, r.session_id = window.id, int(tab.id), session.id

    def variable_request(self, q, r):
        r, status = r.variable_response, statuses(api.VariableResponse)
        variables = {}
        if q.WhichOneof("scope") == "session_id":
            session = self.app.find(q.session_id)
            if session is None:
                r.status = status("SESSION_NOT_FOUND")
                return
            if not all(one.name.startswith("user.") for one in q.set):
                r.status = status("INVALID_NAME")
                return
            session.user.update((one.name, json.loads(one.value)) for one in q.set)
            variables = session.variables()
        r.status = status("OK")
        for name in q.get:
            r.values.append(json.dumps(variables if name == "*" else variables.get(name)))

    def activate_request(self, q, r):
        r, status = r.activate_response, statuses(api.ActivateResponse)
        every = [(window, tab) for window in self.app.windows for tab in window.tabs]
        session = self.app.find(q.session_id)
        if session is not None:
            window, tab = self.app.around(session)
        else:
            window, tab = next(((window, tab) for window, tab in every if tab.id == q.tab_id), (None, None))
        if tab is None:
            r.status = status("BAD_IDENTIFIER")
            return
        if q.select_tab:
            window.shown = tab
        if q.select_session and session is not None:
            tab.active = session
        self.app.forward += q.order_window_front
        r.status = status("OK")

    def focus_request(self, q, r):
        r = r.focus_response
        r.SetInParent()
        r.notifications.add().application_active = True
        for window in self.app.windows:
            current = api.FocusChangedNotification.Window.WindowStatus.Value("TERMINAL_WINDOW_IS_CURRENT")
            r.notifications.add().window.window_status = current
            r.notifications[-1].window.window_id = window.id
            r.notifications.add().selected_tab = window.shown.id
            for tab in window.tabs:
                r.notifications.add().session = tab.active.id

    def close_request(self, q, r):
        status = statuses(api.CloseResponse)
        for id in q.sessions.session_ids:
            session = self.app.find(id)
            if session is not None:
                self.app.remove(session)
            r.close_response.statuses.append(status("NOT_FOUND" if session is None else "OK"))

    def invoke_function_request(self, q, r):
        r = r.invoke_function_response
        session = self.app.find(q.method.receiver)
        begin, end = "iterm2.set_name(name: ", ")"
        if session is None:
            r.error.status = api.InvokeFunctionResponse.Status.Value("INVALID_ID")
        elif not (q.invocation.startswith(begin) and q.invocation.endswith(end)):
            r.error.status = api.InvokeFunctionResponse.Status.Value("FAILED")
            r.error.error_reason = "there is no such function"
        else:
            session.name = json.loads(q.invocation[len(begin) : -len(end)])
            r.success.json_result = "null"

    # Requests that only the app's own clients send.

    def notification_request(self, q, r):
        r.notification_response.status = api.NotificationResponse.Status.Value("OK")

    def get_broadcast_domains_request(self, q, r):
        r.get_broadcast_domains_response.SetInParent()


def profile(properties):
    return {one.key: json.loads(one.json_value) for one in properties}


def is_known(cookie):
    """Whether the cookie is valid. Each cookie is valid once."""
    path = os.path.join(HOME, "cookies")
    known = open(path).read().split() if os.path.exists(path) else []
    if cookie not in known:
        return False
    known.remove(cookie)
    with open(path, "w") as file:
        file.write("\n".join(known) + "\n")
    return True


def check(app, connection, request):
    """Refuses the connections that the real app refuses."""
    header = request.headers.get
    library = header("x-iterm2-library-version", "").split(" ")
    refuse = None
    if request.path != "/" or header("sec-websocket-protocol") != "api.iterm2.com":
        refuse = http.HTTPStatus.BAD_REQUEST
    elif header("host", "").split(":")[0] != "localhost" or not header("origin", "").startswith("ws://localhost"):
        refuse = http.HTTPStatus.BAD_REQUEST
    elif len(library) != 2:
        refuse = http.HTTPStatus.BAD_REQUEST
    elif app.options.newer:
        refuse = http.HTTPStatus.NOT_ACCEPTABLE
    elif not is_known(header("x-iterm2-cookie")):
        refuse = http.HTTPStatus.UNAUTHORIZED
    return refuse and connection.respond(refuse, "")


async def serve_one(app, connection):
    answers = Answers(app)
    try:
        async for frame in connection:
            request = api.ClientOriginatedMessage.FromString(frame)
            kind = request.WhichOneof("submessage")
            response = api.ServerOriginatedMessage(id=request.id)
            app.asked.append(kind)
            answer = getattr(answers, kind or "", None)
            if answer is None:
                response.error = f"cannot answer {kind}"
            else:
                answer(getattr(request, kind), response)
            await connection.send(response.SerializeToString())
    except ConnectionClosed:
        pass


async def commands(app):
    """Executes commands until stdin ends."""
    reader = asyncio.StreamReader()
    await app.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(app.command(json.loads(line))), flush=True)


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--columns", type=int, default=200)
    options.add_argument("--rows", type=int, default=50)
    options.add_argument("--least-columns", type=int, default=10)
    options.add_argument("--least-rows", type=int, default=3)
    options.add_argument("--old", action="store_true", help="select each new tab, as old versions do")
    options.add_argument("--newer", action="store_true", help="reject every client as too old")
    app = App(options.parse_args())
    # No exit status of a session is read, so let the kernel reap the processes.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    directory = os.path.join(HOME, "Library", "Application Support", "iTerm2", "private")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, "socket")
    if os.path.exists(path):
        os.unlink(path)
    server = unix_serve(
        lambda connection: serve_one(app, connection),
        path,
        subprotocols=["api.iterm2.com"],
        process_request=lambda connection, request: check(app, connection, request),
        compression=None,
    )
    async with server:
        _, _, session = app.new_tab({})
        print(json.dumps({"session": session.id}), flush=True)
        await commands(app)
        for session in app.sessions():
            session.hang_up()


asyncio.run(main())
