//! Tests of frames over a real socket: limits, incomplete frames, cancellation.

use agent_team_protocol::codec::FrameError;
use agent_team_system::connection::{FrameReader, FrameWriter, ReadFrameError};
use agent_team_system::socket::Stream;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn many_queued_frames_arrive_in_order() {
    let (sender, receiver) = Stream::pair().unwrap();
    let (_, sender) = sender.into_halves();
    let (receiver, _) = receiver.into_halves();
    let (mut writer, mut reader) = (FrameWriter::new(sender), FrameReader::new(receiver, 1024));
    let sent = async {
        for number in 0..50_000 {
            writer.queue(&format!("{{\"n\":{number}}}\n"));
        }
        writer.flush().await.unwrap();
        assert_eq!(writer.queued(), 0);
        drop(writer);
    };
    let read = async {
        for number in 0..50_000 {
            assert_eq!(
                reader.next().await.unwrap(),
                Some(format!("{{\"n\":{number}}}"))
            );
        }
        assert_eq!(reader.next().await.unwrap(), None);
    };
    tokio::join!(sent, read);
}

#[tokio::test]
async fn a_cancelled_flush_resumes_at_the_first_unsent_byte() {
    let (sender, receiver) = Stream::pair().unwrap();
    let (_, sender) = sender.into_halves();
    let (receiver, _) = receiver.into_halves();
    let mut writer = FrameWriter::new(sender);
    let line = format!("\"{}\"\n", "x".repeat(900_000));
    writer.queue(&line);
    tokio::select! {
        biased;
        _ = writer.flush() => panic!("no peer reads, and the data exceeds the socket buffer"),
        () = async {} => {}
    }
    assert!((1..line.len()).contains(&writer.queued()));
    let mut reader = FrameReader::new(receiver, 1 << 20);
    let (flushed, read) = tokio::join!(writer.flush(), reader.next());
    flushed.unwrap();
    assert_eq!(read.unwrap().unwrap(), line.trim_end());
}

#[tokio::test]
async fn an_incomplete_last_frame_is_dropped() {
    let (sender, receiver) = Stream::pair().unwrap();
    let (_, mut sender) = sender.into_halves();
    let (receiver, _) = receiver.into_halves();
    let mut reader = FrameReader::new(receiver, 1024);
    sender.write_all(b"{}\n{\"half").await.unwrap();
    drop(sender);
    assert_eq!(reader.next().await.unwrap().as_deref(), Some("{}"));
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_an_error() {
    let (sender, receiver) = Stream::pair().unwrap();
    let (_, mut sender) = sender.into_halves();
    let (receiver, _) = receiver.into_halves();
    let mut reader = FrameReader::new(receiver, 64);
    sender.write_all(&[b'x'; 65]).await.unwrap();
    match reader.next().await {
        Err(ReadFrameError::Frame(FrameError::TooLong(64))) => {}
        other => panic!("{other:?}"),
    }
}
