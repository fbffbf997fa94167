//! Frames over a real socket: limits, incomplete frames, cancellation.

use agent_team_protocol::codec::FrameError;
use agent_team_system::connection::{FrameReader, FrameWriter, ReadFrameError};
use agent_team_system::socket::Stream;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn many_queued_frames_arrive_in_order() {
    let (here, there) = Stream::pair().unwrap();
    let (_, here) = here.into_halves();
    let (there, _) = there.into_halves();
    let (mut writer, mut reader) = (FrameWriter::new(here), FrameReader::new(there, 1024));
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
    let (here, there) = Stream::pair().unwrap();
    let (_, here) = here.into_halves();
    let (there, _) = there.into_halves();
    let mut writer = FrameWriter::new(here);
    let line = format!("\"{}\"\n", "x".repeat(900_000));
    writer.queue(&line);
    tokio::select! {
        biased;
        _ = writer.flush() => panic!("no peer reads, and the data exceeds the socket buffer"),
        () = async {} => {}
    }
    assert!((1..line.len()).contains(&writer.queued()));
    let mut reader = FrameReader::new(there, 1 << 20);
    let (flushed, read) = tokio::join!(writer.flush(), reader.next());
    flushed.unwrap();
    assert_eq!(read.unwrap().unwrap(), line.trim_end());
}

#[tokio::test]
async fn an_incomplete_last_frame_is_dropped() {
    let (here, there) = Stream::pair().unwrap();
    let (_, mut here) = here.into_halves();
    let (there, _) = there.into_halves();
    let mut reader = FrameReader::new(there, 1024);
    here.write_all(b"{}\n{\"half").await.unwrap();
    drop(here);
    assert_eq!(reader.next().await.unwrap().as_deref(), Some("{}"));
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_an_error() {
    let (here, there) = Stream::pair().unwrap();
    let (_, mut here) = here.into_halves();
    let (there, _) = there.into_halves();
    let mut reader = FrameReader::new(there, 64);
    here.write_all(&[b'x'; 65]).await.unwrap();
    match reader.next().await {
        Err(ReadFrameError::Frame(FrameError::TooLong(64))) => {}
        other => panic!("{other:?}"),
    }
}
