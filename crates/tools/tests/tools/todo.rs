//! Tests of the tool `todo`.

use serde_json::json;

use crate::context::Rig;

#[tokio::test]
async fn the_list_is_replaced_and_shown() {
    let rig = Rig::new();
    assert_eq!(rig.text("todo", json!({})).await, "(the list is empty)\n");
    let items = json!([
        {"text": "look", "state": "done"},
        {"text": "do", "state": "in_progress"},
        {"text": "tell", "state": "pending"},
    ]);
    let list = "[x] look\n[>] do\n[ ] tell\n";
    assert_eq!(rig.text("todo", json!({"items": items})).await, list);
    assert_eq!(rig.text("todo", json!({})).await, list);
    assert!(rig.shown.lock().unwrap().contains(list));

    let refusal = rig
        .refusal("todo", json!({"items": [{"text": "", "state": "done"}]}))
        .await;
    assert!(refusal.contains("`items[0].text`"), "{refusal}");
    assert_eq!(rig.text("todo", json!({})).await, list);
    rig.text("todo", json!({"items": []})).await;
    assert_eq!(rig.text("todo", json!({})).await, "(the list is empty)\n");
}
