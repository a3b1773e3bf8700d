//! Just enough of Redis's wire format: where a frame ends, and what a request or a list of strings says.

/// The length of the first frame, once all of it is there.
pub(crate) fn frame_len(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let count = || std::str::from_utf8(&bytes[1..line - 2]).ok().and_then(|count| count.parse::<i64>().ok());
    let count = |factor: i64| usize::try_from(count().unwrap_or(0) * factor).unwrap_or(0);
    let items = match bytes[0] {
        b'$' | b'=' | b'!' => {
            // A negative length is the absence of a string: no body follows.
            let end = if bytes[1] == b'-' { line } else { line + count(1) + 2 };
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'~' | b'>' => count(1),
        b'%' => count(2),
        b'|' => count(2) + 1,
        _ => 0,
    };
    let mut end = line;
    for _ in 0..items {
        end += frame_len(&bytes[end..])?;
    }
    Some(end)
}

/// The strings of a request, or of a reply that is a list of strings.
pub(crate) fn strings(frame: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = frame.windows(2).position(|two| two == b"\r\n").map_or(frame.len(), |line| line + 2);
    while at < frame.len() {
        let length = frame_len(&frame[at..]).unwrap_or(frame.len() - at);
        found.push(body(&frame[at..at + length]));
        at += length;
    }
    found
}

/// What a string frame holds; empty for other frames.
pub(crate) fn body(frame: &[u8]) -> &[u8] {
    let line = frame.windows(2).position(|two| two == b"\r\n").map_or(frame.len(), |line| line + 2);
    frame.get(line..frame.len() - 2).unwrap_or_default()
}

/// A request.
pub(crate) fn request<B: AsRef<[u8]>>(arguments: &[B]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        push_string(&mut frame, argument.as_ref());
    }
    frame
}

/// What the server says unasked when something is published, or in answer to a subscription.
pub(crate) fn push(kind: &str, channel: &[u8]) -> Vec<u8> {
    let mut frame = b">3\r\n".to_vec();
    push_string(&mut frame, kind.as_bytes());
    push_string(&mut frame, channel);
    frame
}

pub(crate) fn push_string(frame: &mut Vec<u8>, text: &[u8]) {
    frame.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
    frame.extend_from_slice(text);
    frame.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_it_ends() {
        for frame in ["+OK\r\n", "$-1\r\n", "_\r\n", "$3\r\na\r\n\r\n", "*2\r\n$1\r\na\r\n:7\r\n", "%1\r\n+a\r\n*0\r\n"]
        {
            let two = [frame, frame].concat();
            assert_eq!(frame_len(two.as_bytes()), Some(frame.len()), "{frame:?}");
            for cut in 0..frame.len() {
                assert_eq!(frame_len(&frame.as_bytes()[..cut]), None, "{frame:?} up to {cut}");
            }
        }
    }

    #[test]
    fn a_request_is_read_back() {
        let frame = request(&["GET", "", "a\r\nb"]);
        assert_eq!(strings(&frame), [&b"GET"[..], b"", b"a\r\nb"]);
    }
}
