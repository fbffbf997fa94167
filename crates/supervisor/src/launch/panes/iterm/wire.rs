//! The messages of iTerm2's API that this backend uses: protobuf (proto2), one message per binary WebSocket frame. Used
//! by [`super::app`].
//!
//! Written by hand from the app's published `api.proto`, with only the fields that this backend sets or reads. The
//! field numbers are the interface. The end-to-end tests verify them against a server built from the message classes of
//! the app's own client library.

#[cfg(test)]
mod tests;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(int64, optional, tag = "1")]
    pub(super) id: Option<i64>,
    #[prost(oneof = "Ask", tags = "106, 108, 109, 114, 115, 117, 131, 132")]
    pub(super) ask: Option<Ask>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Ask {
    #[prost(message, tag = "106")]
    ListSessions(Empty),
    #[prost(message, tag = "108")]
    CreateTab(CreateTab),
    #[prost(message, tag = "109")]
    SplitPane(SplitPane),
    #[prost(message, tag = "114")]
    Activate(Activate),
    #[prost(message, tag = "115")]
    Variable(Variable),
    #[prost(message, tag = "117")]
    Focus(Empty),
    #[prost(message, tag = "131")]
    Close(Close),
    #[prost(message, tag = "132")]
    Invoke(Invoke),
}

/// A response, or a notification, which has no id.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(int64, optional, tag = "1")]
    pub(super) id: Option<i64>,
    #[prost(oneof = "Answer", tags = "2, 106, 108, 109, 114, 115, 117, 131, 132")]
    pub(super) answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Answer {
    #[prost(string, tag = "2")]
    Error(String),
    #[prost(message, tag = "106")]
    Sessions(Sessions),
    #[prost(message, tag = "108")]
    TabCreated(TabCreated),
    #[prost(message, tag = "109")]
    PaneSplit(PaneSplit),
    #[prost(message, tag = "114")]
    Activated(Status),
    #[prost(message, tag = "115")]
    Variables(Variables),
    #[prost(message, tag = "117")]
    Focused(Focused),
    #[prost(message, tag = "131")]
    Closed(Closed),
    #[prost(message, tag = "132")]
    Invoked(Invoked),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

/// A response with only a status: 0 means success.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(int32, optional, tag = "1")]
    pub(super) status: Option<i32>,
}

// Listing sessions.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sessions {
    #[prost(message, repeated, tag = "1")]
    pub(super) windows: Vec<Window>,
    /// Sessions that the user has hidden. They continue to run.
    #[prost(message, repeated, tag = "2")]
    pub(super) buried: Vec<Summary>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Window {
    #[prost(message, repeated, tag = "1")]
    pub(super) tabs: Vec<Tab>,
    #[prost(string, optional, tag = "2")]
    pub(super) window_id: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tab {
    #[prost(message, optional, tag = "3")]
    pub(super) root: Option<Node>,
    #[prost(string, optional, tag = "2")]
    pub(super) tab_id: Option<String>,
    /// Sessions hidden by a maximised session.
    #[prost(message, repeated, tag = "6")]
    pub(super) minimized: Vec<Summary>,
}

/// A node in the tree of splits of a tab.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(message, repeated, tag = "2")]
    pub(super) links: Vec<Link>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Link {
    #[prost(oneof = "Child", tags = "1, 2")]
    pub(super) child: Option<Child>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Child {
    #[prost(message, tag = "1")]
    Session(Summary),
    #[prost(message, tag = "2")]
    Node(Node),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Summary {
    #[prost(string, optional, tag = "1")]
    pub(super) unique_identifier: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) grid_size: Option<Size>,
}

/// A size in cells.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Size {
    #[prost(int32, optional, tag = "1")]
    pub(super) width: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(super) height: Option<i32>,
}

// Creating sessions.

/// A profile key that is overridden for the new session.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Property {
    #[prost(string, optional, tag = "1")]
    pub(super) key: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) json_value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SplitPane {
    #[prost(string, optional, tag = "1")]
    pub(super) session: Option<String>,
    #[prost(enumeration = "Direction", optional, tag = "2")]
    pub(super) direction: Option<i32>,
    #[prost(message, repeated, tag = "5")]
    pub(super) properties: Vec<Property>,
}

/// The direction of the divider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Direction {
    Vertical = 0,
    Horizontal = 1,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PaneSplit {
    #[prost(enumeration = "SplitStatus", optional, tag = "1")]
    pub(super) status: Option<i32>,
    #[prost(string, repeated, tag = "2")]
    pub(super) sessions: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum SplitStatus {
    Ok = 0,
    SessionNotFound = 1,
    InvalidProfileName = 2,
    CannotSplit = 3,
    MalformedProperty = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CreateTab {
    /// The window of the new tab; absent for a new window.
    #[prost(string, optional, tag = "2")]
    pub(super) window_id: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(super) properties: Vec<Property>,
    /// Versions that do not know this field select the tab.
    #[prost(bool, optional, tag = "6")]
    pub(super) select_tab: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TabCreated {
    #[prost(enumeration = "TabStatus", optional, tag = "1")]
    pub(super) status: Option<i32>,
    #[prost(string, optional, tag = "4")]
    pub(super) session: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum TabStatus {
    Ok = 0,
    InvalidProfileName = 1,
    InvalidWindowId = 2,
    InvalidTabIndex = 3,
    MissingSubstitution = 4,
}

// Requests about existing sessions.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Variable {
    #[prost(string, optional, tag = "1")]
    pub(super) session: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) set: Vec<Assignment>,
    #[prost(string, repeated, tag = "3")]
    pub(super) get: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Assignment {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    /// JSON.
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Variables {
    #[prost(enumeration = "VariableStatus", optional, tag = "1")]
    pub(super) status: Option<i32>,
    /// JSON, one value for each requested variable.
    #[prost(string, repeated, tag = "2")]
    pub(super) values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum VariableStatus {
    Ok = 0,
    SessionNotFound = 1,
    InvalidName = 2,
    MissingScope = 3,
    TabNotFound = 4,
    MultiGetDisallowed = 5,
    WindowNotFound = 6,
}

/// Brings a tab or a session to the front; unset flags change nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Activate {
    #[prost(oneof = "Target", tags = "2, 3")]
    pub(super) target: Option<Target>,
    #[prost(bool, optional, tag = "4")]
    pub(super) order_window_front: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(super) select_tab: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(super) select_session: Option<bool>,
    #[prost(message, optional, tag = "7")]
    pub(super) app: Option<ActivateApp>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Target {
    #[prost(string, tag = "2")]
    Tab(String),
    #[prost(string, tag = "3")]
    Session(String),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct ActivateApp {
    #[prost(bool, optional, tag = "2")]
    pub(super) ignoring_other_apps: Option<bool>,
}

/// The current focus, in the form of change notifications.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Focused {
    #[prost(message, repeated, tag = "1")]
    pub(super) notifications: Vec<FocusChanged>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FocusChanged {
    #[prost(oneof = "Focus", tags = "3, 4")]
    pub(super) focus: Option<Focus>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Oneof)]
pub(super) enum Focus {
    /// The selected tab of its window.
    #[prost(string, tag = "3")]
    Tab(String),
    /// The focused session of its tab.
    #[prost(string, tag = "4")]
    Session(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Close {
    #[prost(message, optional, tag = "2")]
    pub(super) sessions: Option<CloseSessions>,
    /// Whether to close without asking the user.
    #[prost(bool, optional, tag = "4")]
    pub(super) force: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CloseSessions {
    #[prost(string, repeated, tag = "1")]
    pub(super) session_ids: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Closed {
    #[prost(enumeration = "CloseStatus", repeated, packed = "false", tag = "1")]
    pub(super) statuses: Vec<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum CloseStatus {
    Ok = 0,
    NotFound = 1,
    UserDeclined = 2,
}

/// Calls a function of the app on a session.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Invoke {
    #[prost(message, optional, tag = "7")]
    pub(super) method: Option<Method>,
    #[prost(string, optional, tag = "5")]
    pub(super) invocation: Option<String>,
    /// The time limit in seconds.
    #[prost(double, optional, tag = "6")]
    pub(super) timeout: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Method {
    #[prost(string, optional, tag = "1")]
    pub(super) receiver: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Invoked {
    #[prost(message, optional, tag = "1")]
    pub(super) error: Option<InvokeError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InvokeError {
    #[prost(enumeration = "InvokeStatus", optional, tag = "1")]
    pub(super) status: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(super) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum InvokeStatus {
    Timeout = 1,
    Failed = 2,
    RequestMalformed = 3,
    InvalidId = 4,
}
