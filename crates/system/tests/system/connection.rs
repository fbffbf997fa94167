//! Frames over a real socket: limits, cuts, cancellation.

use agent_team_protocol::codec::FrameError;
use agent_team_system::connection::{FrameReader, FrameWriter, ReadFrameError};
use agent_team_system::socket::Stream;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn frames_arrive_in_order_however_many_are_sent_at_once() {
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
async fn a_flush_that_was_cancelled_goes_on_where_it_stopped() {
    let (here, there) = Stream::pair().unwrap();
    let (_, here) = here.into_halves();
    let (there, _) = there.into_halves();
    let mut writer = FrameWriter::new(here);
    let line = format!("\"{}\"\n", "x".repeat(900_000));
    writer.queue(&line);
    tokio::select! {
        biased;
        _ = writer.flush() => panic!("nobody reads, and no socket takes that much"),
        () = async {} => {}
    }
    assert!((1..line.len()).contains(&writer.queued()));
    let mut reader = FrameReader::new(there, 1 << 20);
    let (flushed, read) = tokio::join!(writer.flush(), reader.next());
    flushed.unwrap();
    assert_eq!(read.unwrap().unwrap(), line.trim_end());
}

#[tokio::test]
async fn a_frame_that_death_cut_off_was_never_sent() {
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
async fn an_endless_frame_is_cut_off_at_the_limit() {
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
