use super::*;

#[test]
fn numbers_are_octal_or_in_base_256() {
    let large = [0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7];
    for (field, expected) in [
        (&b"0000644\0"[..], Ok((0o644, true))),
        (b"000644 \0", Ok((0o644, true))),
        (b"644\0 \0 \0", Ok((0o644, true))),
        (b"7\0\0\0\0\0\0\0", Ok((7, true))),
        (b"    644\0", Ok((0o644, false))),
        (b"\x0000644\0\0", Ok((0o644, false))),
        (b"00000644", Ok((0o644, false))),
        (b"777777777777", Ok((0o777_777_777_777, false))),
        (&large, Ok(((1 << 48) + 7, false))),
        (b"\x80\0\0\0\0\0\0\x01", Ok((1, false))),
        (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", Err("a number out of range")),
        (b"\x80\0\x01\0\0\0\0\0\0\0\0\0", Err("a number out of range")),
        (b"\x81\0\0\0\0\0\0\x01", Err("a number out of range")),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", Err("a number out of range")),
        (b"\0\0\0\0\0\0\0\0", Err("an empty number")),
        (b"        ", Err("an empty number")),
        (b"0000648\0", Err("a number that is not octal")),
        (b"64 4\0\0\0\0", Err("a number that is not octal")),
        (b"64\x004\0\0\0\0", Err("a number that is not octal")),
        (b"-000644\0", Err("a number that is not octal")),
        (b"+000644\0", Err("a number that is not octal")),
        (b"0x00644\0", Err("a number that is not octal")),
        (b"6_4_4\0\0\0", Err("a number that is not octal")),
    ] {
        assert_eq!(number(field), expected, "{}", field.escape_ascii());
    }
}

#[test]
fn records_say_their_length() {
    let read = |text: &[u8]| parse_records(text);
    let pair = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
    assert_eq!(read(b""), Ok(Vec::new()));
    assert_eq!(read(b"8 a=b=c\n"), Ok(vec![pair("a", b"b=c")]));
    assert_eq!(read(b"5 a=\n"), Ok(vec![pair("a", b"")]));
    assert_eq!(read(b"8 a=\n\0\xff\n6 b=1\n"), Ok(vec![pair("a", b"\n\0\xff"), pair("b", b"1")]));
    assert_eq!(read(b"6 a=b\n6 a=c\n"), Err("two records a for one member".into()));
    for bad in [
        &b"6 a=b"[..],
        b"7 a=b\n",
        b"5 a=b\n",
        b"06 a=b\n",
        b" 6 a=b\n",
        b"+6 a=b\n",
        b"6\ta=b\n",
        b"6 a=b\0",
        b"6 ab.\n",
        b"5 =b\n",
        b"6 a=b\nx",
        b"6 a=b\n\0\0\0",
        b"7 a\x00=b\n",
        b"7 \xff\xfe=\n",
        b"99999999 a=b\n",
        b"18446744073709551616 a=b\n",
        b"0 a=b\n",
        b"2 \n",
        b"3 =\n",
    ] {
        assert_eq!(read(bad), Err("an extended header that cannot be read".into()), "{}", bad.escape_ascii());
    }
}

#[test]
fn times_are_seconds_perhaps_with_a_fraction() {
    for (text, expected) in [
        (&b"0"[..], true),
        (b"1700000000.123456789", true),
        (b"1700000000.", true),
        (b"-1", false),
        (b"", false),
        (b".5", false),
        (b"1.-5", false),
        (b"1e9", false),
        (b"99999999999999999999", false),
    ] {
        assert_eq!(is_time(text), expected, "{}", text.escape_ascii());
    }
}
